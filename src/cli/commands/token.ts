/** lastseen token, lastseen client: what an admin may do, over HTTP. */
import type { Command } from 'commander';
import { readClientConfig } from '../../config.ts';
import { LastseenError } from '../../errors.ts';
import { addUrlOption } from '../io/options.ts';

interface GrantOptions {
  readonly url?: string;
  readonly scope: string;
  readonly accessId: string[];
  readonly sub?: string;
  readonly expiresIn?: string;
}

type UrlOptions = Pick<GrantOptions, 'url'>;

const ADMIN_HELP = '\nAsks the server as the holder of LASTSEEN_TOKEN, which must have the scope admin.';

export function addToken(program: Command): void {
  const token = program
    .command('token')
    .description('access tokens: create, list, revoke')
    .addHelpText('after', ADMIN_HELP);
  addGrantOptions(
    token.command('create').description('print a new access token and its refresh token, as JSON'),
  )
    .option('--sub <name>', 'whose token (default: the holder of LASTSEEN_TOKEN)')
    .option('--expires-in <seconds>', 'at most a day (default 3600)')
    .action(async (wanted: GrantOptions) => {
      const body = {
        scope: wanted.scope,
        access_ids: wanted.accessId,
        ...(wanted.sub === undefined ? {} : { sub: wanted.sub }),
        ...(wanted.expiresIn === undefined ? {} : { expires_in: Number(wanted.expiresIn) }),
      };
      printJson(await request('POST', '/tokens', { url: wanted.url, body }));
    });
  addUrlOption(token.command('list').description('print the tokens that hold, as JSON')).action(
    async (options: UrlOptions) => {
      printJson(await request('GET', '/tokens', options));
    },
  );
  addUrlOption(
    token.command('revoke').description('revoke a token; its connections are closed').argument('<jti>'),
  ).action(async (jti: string, options: UrlOptions) => {
    await request('DELETE', `/tokens/${encodeURIComponent(jti)}`, options);
  });
}

export function addClient(program: Command): void {
  const client = program
    .command('client')
    .description('credentials of connectors: create, list, remove')
    .addHelpText('after', ADMIN_HELP);
  addGrantOptions(
    client.command('create').description('print a new client id and its secret, shown this once, as JSON'),
  )
    .argument('<name>')
    .action(async (name: string, wanted: GrantOptions) => {
      const body = { name, scope: wanted.scope, access_ids: wanted.accessId };
      printJson(await request('POST', '/oauth/clients', { url: wanted.url, body }));
    });
  addUrlOption(client.command('list').description('print the clients, as JSON')).action(
    async (options: UrlOptions) => {
      printJson(await request('GET', '/oauth/clients', options));
    },
  );
  addUrlOption(
    client
      .command('remove')
      .description('remove a client; its tokens are revoked and their connections closed')
      .argument('<client_id>'),
  ).action(async (id: string, options: UrlOptions) => {
    await request('DELETE', `/oauth/clients/${encodeURIComponent(id)}`, options);
  });
}

function addGrantOptions(command: Command): Command {
  return addUrlOption(command)
    .requiredOption('--scope <scopes>', 'e.g. "push subscribe"')
    .requiredOption('--access-id <names...>', 'access_ids, or prefixes that end in *');
}

interface RequestOptions {
  readonly url?: string | undefined;
  readonly body?: object;
}

async function request(method: string, path: string, { url, body }: RequestOptions): Promise<unknown> {
  const client = readClientConfig(process.env, url);
  const response = await fetch(client.url + path, {
    method,
    headers: {
      'Content-Type': 'application/json',
      ...(client.token === undefined ? {} : { Authorization: `Bearer ${client.token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) {
    throw new LastseenError('ERR_INTERNAL', `the server answered ${response.status}: ${text}`);
  }
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
