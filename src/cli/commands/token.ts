/** lastseen token, lastseen client: tokens and client credentials, over HTTP. */
import { type Command, Option } from 'commander';
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

const ADMIN_HELP = '\nThe token is read from LASTSEEN_TOKEN and needs the scope admin.';

export function addToken(program: Command): void {
  const token = program
    .command('token')
    .description('access tokens: create, list, revoke')
    .addHelpText('after', ADMIN_HELP);
  addGrantOptions(
    token.command('create').description('print a new access token and its refresh token, as JSON'),
  )
    .addOption(
      new Option('--sub <name>', 'subject of the token').default(undefined, 'the subject of LASTSEEN_TOKEN'),
    )
    .addOption(
      new Option('--expires-in <seconds>', 'lifetime of the token, at most 86400').default(undefined, '3600'),
    )
    .action(async (wanted: GrantOptions) => {
      const body = {
        scope: wanted.scope,
        access_ids: wanted.accessId,
        ...(wanted.sub === undefined ? {} : { sub: wanted.sub }),
        ...(wanted.expiresIn === undefined ? {} : { expires_in: Number(wanted.expiresIn) }),
      };
      printJson(await request('POST', '/tokens', { url: wanted.url, body }));
    });
  addUrlOption(token.command('list').description('print the valid tokens, as JSON')).action(
    async (options: UrlOptions) => {
      printJson(await request('GET', '/tokens', options));
    },
  );
  addUrlOption(
    token
      .command('revoke')
      .description('revoke a token and close its connections')
      .argument('<jti>', 'id of the token'),
  ).action(async (jti: string, options: UrlOptions) => {
    await request('DELETE', `/tokens/${encodeURIComponent(jti)}`, options);
  });
}

export function addClient(program: Command): void {
  const client = program
    .command('client')
    .description('client credentials of connectors: create, list, remove')
    .addHelpText('after', ADMIN_HELP);
  addGrantOptions(
    client
      .command('create')
      .description('print a new client id and its secret, as JSON; the secret is shown only once'),
  )
    .argument('<name>', 'name of the client')
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
      .description('remove a client, revoke its tokens and close their connections')
      .argument('<client_id>', 'id of the client'),
  ).action(async (id: string, options: UrlOptions) => {
    await request('DELETE', `/oauth/clients/${encodeURIComponent(id)}`, options);
  });
}

function addGrantOptions(command: Command): Command {
  return addUrlOption(command)
    .requiredOption('--scope <scopes>', 'scopes, for example "push subscribe"')
    .requiredOption('--access-id <names...>', 'access_ids, or prefixes that end with *');
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
