/** /openapi.json and /asyncapi.json as a page needs them. Pure: what is not there is left out. */
import { listOf } from './answer.ts';

export interface RouteText {
  /** Of the page, to be linked to. */
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  /** What is asked for: a scope, `a token`, or nothing. */
  readonly needs: string;
  readonly parameters: readonly { readonly name: string; readonly text: string }[];
  readonly bodies: readonly { readonly type: string; readonly schema: string }[];
  readonly answers: readonly { readonly status: string; readonly text: string }[];
}

export interface ChannelText {
  readonly id: string;
  readonly address: string;
  readonly title: string;
  readonly text: string;
  readonly messages: readonly {
    readonly name: string;
    readonly isFromClient: boolean;
    readonly summary: string;
    readonly schema: string;
  }[];
}

type Json = Readonly<Record<string, unknown>>;

const MAX_DEPTH = 6;

/** In the order of the document. */
export function routesOf(document: unknown): RouteText[] {
  const schemas = objectAt(document, 'components', 'schemas');
  return Object.entries(objectAt(document, 'paths')).flatMap(([path, methods]) =>
    Object.entries(objectAt(methods)).map(([method, operation]) => ({
      id: `${method}${path}`.replaceAll(/[^A-Za-z0-9]+/g, '-'),
      method: method.toUpperCase(),
      path,
      summary: textAt(operation, 'summary'),
      tag: listAt(operation, 'tags').join(' '),
      needs: needsOf(listAt(operation, 'security')),
      parameters: listOf(listAt(operation, 'parameters')).map((parameter) => ({
        name: textAt(parameter, 'name'),
        text: [
          textAt(parameter, 'in'),
          parameter['required'] === true ? 'required' : '',
          textAt(parameter, 'description'),
        ]
          .filter((part) => part !== '')
          .join(', '),
      })),
      bodies: Object.entries(objectAt(operation, 'requestBody', 'content')).map(([type, content]) => ({
        type,
        schema: schemaText(objectAt(content, 'schema'), schemas),
      })),
      answers: Object.entries(objectAt(operation, 'responses')).map(([status, answer]) => ({
        status,
        text: textAt(answer, 'description'),
      })),
    })),
  );
}

export function channelsOf(document: unknown): ChannelText[] {
  const schemas = objectAt(document, 'components', 'schemas');
  const received = new Set(
    Object.values(objectAt(document, 'operations'))
      .filter((operation) => textAt(operation, 'action') === 'receive')
      .flatMap((operation) =>
        listOf(listAt(operation, 'messages')).map((message) => textAt(message, '$ref')),
      ),
  );
  return Object.entries(objectAt(document, 'channels')).map(([id, channel]) => ({
    id: `channel-${id}`,
    address: textAt(channel, 'address'),
    title: textAt(channel, 'title'),
    text: textAt(channel, 'description'),
    messages: Object.entries(objectAt(channel, 'messages')).map(([name, message]) => ({
      name,
      isFromClient: received.has(`#/channels/${id}/messages/${name}`),
      summary: textAt(message, 'summary'),
      schema: schemaText(objectAt(message, 'payload'), schemas),
    })),
  }));
}

/** A schema as one would write an example of it: names with types, alternatives with a bar. */
export function schemaText(schema: unknown, schemas: Json, depth = 0): string {
  const value = objectAt(schema);
  const deeper = (inner: unknown): string => schemaText(inner, schemas, depth + 1);
  if (depth > MAX_DEPTH) {
    return '…';
  }
  const reference = textAt(value, '$ref');
  if (reference !== '') {
    return deeper(schemas[reference.split('/').at(-1) ?? '']);
  }
  if ('const' in value) {
    return JSON.stringify(value['const']);
  }
  const choices = listAt(value, 'enum');
  if (choices.length > 0) {
    return choices.map((choice) => JSON.stringify(choice)).join(' | ');
  }
  const either = [...listAt(value, 'anyOf'), ...listAt(value, 'oneOf')];
  if (either.length > 0) {
    return [...new Set(either.map(deeper))].join(' | ');
  }
  const all = listAt(value, 'allOf');
  if (all.length > 0) {
    return all.map(deeper).join(' & ');
  }
  const tuple = [...listAt(value, 'prefixItems'), ...listAt(value, 'items')];
  if (tuple.length > 0) {
    return `[${tuple.map(deeper).join(', ')}]`;
  }
  const type = textAt(value, 'type');
  if (type === 'array') {
    return `[${deeper(value['items'])}, …]`;
  }
  if (type === 'object' || 'properties' in value) {
    return objectText(value, deeper);
  }
  return type === '' ? 'any JSON' : type;
}

function objectText(schema: Json, deeper: (inner: unknown) => string): string {
  const required = new Set(listAt(schema, 'required'));
  const members = Object.entries(objectAt(schema, 'properties'))
    // What may not be there is no part of the form.
    .filter(([, inner]) => !('not' in objectAt(inner)))
    .map(([name, inner]) => `"${name}"${required.has(name) ? '' : '?'}: ${deeper(inner)}`);
  return members.length === 0 ? '{…}' : `{ ${members.join(', ')} }`;
}

function needsOf(security: readonly unknown[]): string {
  const [first] = listOf(security);
  if (first === undefined) {
    return 'no token';
  }
  const scopes = listAt(first, 'bearer');
  if ('client' in first) {
    return 'client credentials';
  }
  return scopes.length === 0 ? 'a token' : `scope ${scopes.join(' ')}`;
}

function objectAt(value: unknown, ...keys: readonly string[]): Json {
  let inner = value;
  for (const key of keys) {
    inner = objectAt(inner)[key];
  }
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? (inner as Json) : {};
}

function listAt(value: unknown, key: string): readonly unknown[] {
  const inner = objectAt(value)[key];
  return Array.isArray(inner) ? inner : [];
}

function textAt(value: unknown, key: string): string {
  const inner = objectAt(value)[key];
  return typeof inner === 'string' ? inner : '';
}
