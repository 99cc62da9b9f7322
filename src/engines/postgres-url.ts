/**
 * The address of a PostgreSQL of one or several hosts, in the form of libpq: `postgres://USER:PASSWORD@h1:5432,h2/db`, or
 * `postgres:///db?host=h1,h2&port=5432`. `pg` knows addresses of one host only, so this makes one address for each host.
 * No message contains a part of the address: it may hold a password.
 */
import { LastseenError } from '../errors.ts';

/** One server that an address names. */
export interface PostgresHost {
  /** `HOST:PORT`, for the operator. */
  readonly name: string;
  /** The address with this host alone. May hold a password: never log it. */
  readonly url: string;
}

const DEFAULT_PORT = '5432';
const MAX_HOSTS = 16;
const REDACTED = 'postgres://[redacted]';

const SCHEME = /^(postgres(?:ql)?:\/\/)([^/?#]*)([^?#]*)(?:\?([^#]*))?/;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[^[\]:]*)(?::(\d*))?$/;

/** libpq's rules for the server to choose that a server which writes can follow. */
const TARGETS: readonly string[] = ['any', 'read-write', 'primary'];

/** The hosts of an address, in its order. @throws ERR_REQUEST_INVALID which says what is wrong, without its text */
export function readPostgresUrl(url: string): readonly PostgresHost[] {
  const parts = SCHEME.exec(url);
  if (parts === null) {
    throw invalid('must be postgres://…');
  }
  const [, scheme = '', authority = '', path = '', search = ''] = parts;
  const parameters = new URLSearchParams(search);
  const target = parameters.get('target_session_attrs');
  if (target !== null && !TARGETS.includes(target)) {
    throw invalid(
      `target_session_attrs must be ${TARGETS.join(', ')}: Lastseen uses the host that accepts writes`,
    );
  }
  const at = authority.lastIndexOf('@') + 1;
  const user = authority.slice(0, at);
  const listed = parameters.get('host');
  const hosts = listed?.includes(',') === true ? hostsOf(listed, parameters) : authority.slice(at).split(',');
  if (hosts.length === 1 && target === null) {
    // What `pg` reads by itself stays as it is.
    return [{ name: nameOf(hosts[0] ?? ''), url }];
  }
  if (hosts.length > MAX_HOSTS) {
    throw invalid(`must have at most ${MAX_HOSTS} hosts, has ${hosts.length}`);
  }
  parameters.delete('target_session_attrs');
  if (hosts.length > 1) {
    parameters.delete('host');
    parameters.delete('port');
  }
  const rest = parameters.size === 0 ? path : `${path}?${parameters.toString()}`;
  return hosts.map((host, index) => {
    if (hosts.length > 1) {
      requireHost(host, `host ${index + 1} of ${hosts.length}`);
    }
    return { name: nameOf(host), url: `${scheme}${user}${host}${rest}` };
  });
}

/** libpq: one port for all hosts, or one for each. */
function hostsOf(listed: string, parameters: URLSearchParams): string[] {
  const names = listed.split(',');
  const ports = (parameters.get('port') ?? '').split(',');
  if (ports.length !== 1 && ports.length !== names.length) {
    throw invalid(
      `must have one port or as many as hosts, has ${ports.length} ports and ${names.length} hosts`,
    );
  }
  return names.map((name, index) => {
    const port = ports[ports.length === 1 ? 0 : index] ?? '';
    const host = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
    return port === '' ? host : `${host}:${port}`;
  });
}

function requireHost(text: string, what: string): void {
  const [matched, host = '', port] = HOST.exec(text) ?? [];
  if (matched === undefined) {
    throw invalid(`${what} must be HOST or HOST:PORT (an address of IPv6 in brackets)`);
  }
  if (host === '') {
    throw invalid(`${what} must have a name`);
  }
  if (port !== undefined && !(Number(port) >= 1 && Number(port) <= 65_535)) {
    throw invalid(`${what} must have a port from 1 to 65535`);
  }
  if (!URL.canParse(`postgres://${host}/`)) {
    throw invalid(`${what} must be a host name or an address`);
  }
}

function nameOf(text: string): string {
  const [, host = '', port = ''] = HOST.exec(text) ?? [];
  return `${host === '' ? 'localhost' : host}:${port === '' ? DEFAULT_PORT : port}`;
}

/** Hosts and database of an address, without user and password. */
export function withoutSecrets(url: string): string {
  try {
    const path = SCHEME.exec(url)?.[3] ?? '';
    // A password with an unescaped slash: what stands before it is no host.
    if (path.includes('@')) {
      return REDACTED;
    }
    return `postgres://${readPostgresUrl(url)
      .map(({ name }) => name)
      .join(',')}${path}`;
  } catch {
    return REDACTED;
  }
}

function invalid(message: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', message);
}
