/** Runs the command line. Exit codes: 0 done, 1 failed, 2 wrong options or arguments. */
import { CommanderError } from 'commander';
import { LastseenError } from '../errors.ts';
import { buildProgram } from './program.ts';

// A reader of standard output may stop reading, such as `head`: that is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') {
    process.exit(0);
  }
  process.stderr.write(`lastseen: standard output: ${error.message}\n`);
  process.exit(1);
});

const program = await buildProgram(process.argv[2]);
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    process.stderr.write(`lastseen: ${messageFor(error)}\n`);
    process.exitCode = error instanceof LastseenError && error.code === 'ERR_REQUEST_INVALID' ? 2 : 1;
  }
}

/** The message of an expected error, the stack of any other. */
function messageFor(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  if (error instanceof TypeError && error.message === 'fetch failed') {
    const { code = 'no answer' } = (error.cause ?? {}) as { code?: string };
    return `cannot reach the server (${code}): check that it is running and that --url is right`;
  }
  const isExpected = error instanceof LastseenError || 'code' in error;
  return isExpected ? error.message : (error.stack ?? error.message);
}
