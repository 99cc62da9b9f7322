/** lastseen serve */
import type { Command } from 'commander';
import { type Environment, readConfig, redacted } from '../../config.ts';
import { createLogger } from '../../logger.ts';
import { startServer } from '../../server.ts';

const FLAGS: readonly [flag: string, setting: string, meaning: string][] = [
  ['--host <address>', 'HOST', 'address to listen on (default 127.0.0.1)'],
  ['--port <number>', 'PORT', 'port to listen on, 0 picks a free one (default 8080)'],
  ['--database-url <url>', 'DATABASE_URL', 'sqlite:PATH or postgres://… (default sqlite:./data/lastseen.db)'],
  ['--retention <rule>', 'LASTSEEN_RETENTION', 'what is kept, e.g. 30d or 1000/access_id (default all)'],
  ['--migrate <on|off>', 'LASTSEEN_MIGRATE', 'run missing migrations at start (default on)'],
  [
    '--auth <required|open>',
    'LASTSEEN_AUTH',
    'open skips authentication, on loopback only (default required)',
  ],
  [
    '--origins <list>',
    'LASTSEEN_ORIGINS',
    'origins that may open sockets from a browser (default same origin)',
  ],
  ['--log <level>', 'LASTSEEN_LOG', 'trace, debug, info, warn, error, fatal or silent (default info)'],
];

export function addServe(program: Command): void {
  const command = program.command('serve').description('serve the log over HTTP and WebSockets');
  for (const [flag, setting, meaning] of FLAGS) {
    command.option(flag, `${meaning} [${setting}]`);
  }
  command.addHelpText(
    'after',
    '\nEvery setting of the README can also be given in the environment; flags win.',
  );
  command.action(async (options: Record<string, string>) => {
    await serve({ ...process.env, ...settingsOf(command, options) });
  });
}

function settingsOf(command: Command, options: Record<string, string>): Environment {
  return Object.fromEntries(
    command.options.flatMap((option, at) => {
      const value = options[option.attributeName()];
      const setting = FLAGS[at]?.[1];
      return value === undefined || setting === undefined ? [] : [[setting, value]];
    }),
  );
}

async function serve(environment: Environment): Promise<void> {
  const config = readConfig(environment);
  const logger = createLogger(config.logLevel, process.stdout.isTTY);
  logger.info(redacted(config), 'settings');
  const server = await startServer({ config, logger, onAdminToken: showToken });
  process.stdout.write(`lastseen listening on ${server.url}\n`);
  await untilSignal();
  logger.info('draining');
  await server.stop();
  logger.info('stopped');
}

/** Resolves at the first SIGTERM or SIGINT; the second ends the process at once. */
function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const onSignal = (): void => {
      count += 1;
      if (count > 1) {
        process.exit(1);
      }
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

function showToken(token: string, url: string): void {
  process.stdout.write(`
The admin token of this database, shown this once. Keep it; only its hash is stored.

  export LASTSEEN_TOKEN=${token}

  curl -H "Authorization: Bearer $LASTSEEN_TOKEN" -H "Content-Type: application/json" \\
       -d '[{"accessid":"client1","created_at":10,"payload":"hello"}]' ${url}/push_events
  curl -H "Authorization: Bearer $LASTSEEN_TOKEN" "${url}/events?access_id=client1"

`);
}
