/** lastseen serve */
import type { Command } from 'commander';
import { type Config, type Environment, redacted } from '../../config.ts';
import { createLogger } from '../../logger.ts';
import { startServer } from '../../server.ts';
import { type SettingOption, settingOption } from '../io/options.ts';
import { readSettings } from '../io/settings.ts';

const OPTIONS: readonly (SettingOption & { readonly flags: string })[] = [
  {
    flags: '--host <address>',
    setting: 'HOST',
    meaning: 'address to listen on',
    fallback: '127.0.0.1',
  },
  {
    flags: '--port <number>',
    setting: 'PORT',
    meaning: 'port to listen on; 0 picks a free port',
    fallback: '8080',
  },
  {
    flags: '--database-url <url>',
    setting: 'DATABASE_URL',
    meaning: 'sqlite:PATH or postgres://…',
    fallback: 'sqlite:./data/lastseen.db',
  },
  {
    flags: '--retention <rule>',
    setting: 'LASTSEEN_RETENTION',
    meaning: 'events to keep, for example 30d or 1000/access_id',
    fallback: 'all events',
  },
  {
    flags: '--migrate <on|off>',
    setting: 'LASTSEEN_MIGRATE',
    meaning: 'run missing migrations at start',
    fallback: 'on',
  },
  {
    flags: '--auth <required|open>',
    setting: 'LASTSEEN_AUTH',
    meaning: 'open skips authentication and needs a loopback address',
    fallback: 'required',
  },
  {
    flags: '--origins <list>',
    setting: 'LASTSEEN_ORIGINS',
    meaning: 'origins whose pages may open sockets, separated by commas',
    fallback: 'the origin of the server',
  },
  {
    flags: '--log <level>',
    setting: 'LASTSEEN_LOG',
    meaning: 'log level: trace, debug, info, warn, error, fatal or silent',
    fallback: 'info',
  },
];

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .description('serve the log over HTTP and WebSockets until SIGTERM or SIGINT');
  const settings = new Map<string, string>();
  for (const { flags, ...details } of OPTIONS) {
    const option = settingOption(flags, details);
    settings.set(option.attributeName(), details.setting);
    command.addOption(option);
  }
  command.addHelpText(
    'after',
    '\nEnvironment variables set these and further settings. Options override them.',
  );
  command.action(async (options: Readonly<Record<string, string>>) => {
    const overrides = Object.entries(options).map(([name, value]) => [settings.get(name) ?? name, value]);
    await serve(readSettings(Object.fromEntries(overrides) as Environment));
  });
}

async function serve(config: Config): Promise<void> {
  const logger = createLogger(config.logLevel, process.stdout.isTTY);
  logger.info(redacted(config), 'settings');
  const server = await startServer({ config, logger, onAdminToken: printAdminToken });
  void server.failed.then((error) => {
    logger.fatal(error.message);
    process.exit(1);
  });
  process.stdout.write(`lastseen listening on ${server.url}\n`);
  await untilSignal();
  logger.info('draining');
  await server.stop();
  logger.info('stopped');
}

/** Resolves at the first SIGTERM or SIGINT. The second ends the process at once. */
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

function printAdminToken(token: string, url: string): void {
  process.stdout.write(`
The admin token of this database, shown only once. Keep it: the database stores only its hash.

  export LASTSEEN_TOKEN=${token}

  curl -H "Authorization: Bearer $LASTSEEN_TOKEN" -H "Content-Type: application/json" \\
       -d '[{"accessid":"client1","created_at":10,"payload":"hello"}]' ${url}/push_events
  curl -H "Authorization: Bearer $LASTSEEN_TOKEN" "${url}/events?access_id=client1"

`);
}
