/** The options of the commands of this folder: `npm test`, `npm run test:node` and `npm run bench`. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

export interface CommandLine<T extends ParseArgsConfig> {
  readonly options: ReturnType<typeof parseArgs<T>>['values'];
  readonly arguments: readonly string[];
  /** Ends the process with code 2. */
  fail(message: string): never;
}

/** `--help` prints the text and ends the process; its first line is the use of the command. A wrong option ends it too. */
export function readCommandLine<const T extends ParseArgsConfig>(help: string, config: T): CommandLine<T> {
  const [command = ''] = help.split(' [', 1);
  const fail = (message: string): never => {
    process.stderr.write(`${message}\n${command} --help shows the options\n`);
    process.exit(2);
  };
  if (process.argv.includes('--help')) {
    process.stdout.write(help);
    process.exit();
  }
  try {
    const { values, positionals } = parseArgs<T>(config);
    return { options: values, arguments: positionals, fail };
  } catch (error) {
    // The first sentence says what is wrong; the rest is about other commands.
    return fail(String(error instanceof Error ? error.message : error).split('. ')[0] ?? '');
  }
}
