/**
 * Decodes and encodes JSON:API 1.0 documents of users, as clients of the original expect them. It is written
 * by hand: the maintained libraries bring a framework or only encode documents, and this is one type with two
 * attributes.
 */
import { z } from 'zod';
import { type InputFault, LastseenError, quote } from '../../errors.ts';
import type { User } from '../../identity/user-store.ts';
import type { UserAttributes } from '../../identity/users.ts';

/** The media type of JSON:API. */
export const MEDIA_TYPE = 'application/vnd.api+json';

const MIN_NICKNAME = 3;
const MAX_NICKNAME = 20;
/** Maximum number of users in a page. */
export const MAX_PAGE = 100;

const Nickname = z
  .string()
  .transform((text) => text.trim())
  .refine((text) => text === '' || ([...text].length >= MIN_NICKNAME && [...text].length <= MAX_NICKNAME), {
    error: `must have ${MIN_NICKNAME} to ${MAX_NICKNAME} characters`,
  })
  .refine((text) => !text.includes('\u0000') && !/\p{Surrogate}/u.test(text), {
    error: 'must be well-formed text',
  })
  .transform((text) => (text === '' ? null : text));

const Stamps = z
  .union(
    [
      z.int(),
      z
        .string()
        .regex(/^\d{1,15}$/)
        .transform(Number),
    ],
    { error: 'must be an integer' },
  )
  .refine((count) => count >= 0, { error: 'must not be negative' });

const Attributes = z.strictObject({ nickname: Nickname.optional(), stamps_collected: Stamps.optional() });

const Resource = z.strictObject({
  type: z.literal('user', { error: 'must be "user"' }),
  attributes: Attributes.default({}),
});

/** Schemas of the accepted documents. */
export const Create = z.strictObject({ data: Resource });
export const Update = z.strictObject({ data: Resource.extend({ id: z.string().optional() }) });

/**
 * Decodes the document of a new user.
 * @throws ERR_REQUEST_INVALID with JSON:API pointers
 */
export function decodeCreate(body: unknown): UserAttributes {
  const { attributes } = parse(Create, body).data;
  return { nickname: attributes.nickname ?? null, stampsCollected: attributes.stamps_collected ?? 0 };
}

/**
 * Decodes the document of a change.
 * @throws ERR_REQUEST_INVALID, or ERR_ID_CONFLICT if the id differs from that of the URL
 */
export function decodeUpdate(body: unknown, id: string): Partial<UserAttributes> {
  const { data } = parse(Update, body);
  if (data.id !== undefined && data.id !== id) {
    const faults = [{ pointer: '/data/id', detail: 'must be the id of the URL' }];
    throw new LastseenError('ERR_ID_CONFLICT', 'data.id must be the id of the URL', { faults });
  }
  const { nickname, stamps_collected: stampsCollected } = data.attributes;
  return {
    ...(nickname === undefined ? {} : { nickname }),
    ...(stampsCollected === undefined ? {} : { stampsCollected }),
  };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) {
    return parsed.data;
  }
  const faults = parsed.error.issues.flatMap((issue): InputFault[] => {
    const pointer = issue.path.map((part) => `/${String(part)}`).join('');
    if (issue.code !== 'unrecognized_keys') {
      return [{ pointer, detail: issue.message }];
    }
    return issue.keys.map((key) => ({
      pointer: `${pointer}/${key}`,
      detail: `Expected only defined properties, got key ["${[...issue.path, key].join('", "')}"].`,
    }));
  });
  throw new LastseenError('ERR_REQUEST_INVALID', 'the document is invalid', { faults });
}

/** A decoded list query. */
export interface ListQuery {
  readonly limit: number;
  readonly after: { readonly insertedAt: number; readonly id: string } | undefined;
  readonly nickname: string | undefined;
  readonly fields: ReadonlySet<string> | undefined;
}

const FIELDS = ['nickname', 'stamps_collected'];

/**
 * Decodes `page[size]`, `page[after]`, `filter[nickname]` and `fields[user]`.
 * @throws ERR_REQUEST_INVALID naming the parameter
 */
export function decodeListQuery(parameters: URLSearchParams): ListQuery {
  const parameterNames = new Set(['page[size]', 'page[after]', 'filter[nickname]', 'fields[user]']);
  for (const name of parameters.keys()) {
    if (!parameterNames.has(name)) {
      throw invalidParameter(name, 'is not a parameter of this route');
    }
  }
  const size = parameters.get('page[size]') ?? String(MAX_PAGE);
  if (!/^[1-9]\d{0,2}$/.test(size) || Number(size) > MAX_PAGE) {
    throw invalidParameter('page[size]', `must be an integer from 1 to ${MAX_PAGE}`);
  }
  const after = parameters.get('page[after]');
  const match = after === null ? undefined : /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(after);
  if (match === null) {
    throw invalidParameter('page[after]', 'must be a value from links.next');
  }
  const fields = parameters.get('fields[user]')?.split(',');
  if (fields?.some((field) => field !== '' && !FIELDS.includes(field)) === true) {
    throw invalidParameter('fields[user]', `must contain fields of ${FIELDS.join(',')}`);
  }
  return {
    limit: Number(size),
    after: match === undefined ? undefined : { insertedAt: Number(match[1]), id: match[2] ?? '' },
    nickname: parameters.get('filter[nickname]') ?? undefined,
    fields: fields === undefined ? undefined : new Set(fields),
  };
}

/** Returns the value of `page[after]` for the page after a user. */
export function pageCursorOf(user: User): string {
  return `${user.insertedAt}.${user.id}`;
}

/** Converts a user to a resource. */
export function resourceOf(user: User, fields?: ReadonlySet<string>): Record<string, unknown> {
  const attributes = { nickname: user.nickname, stamps_collected: user.stampsCollected };
  return {
    id: user.id,
    type: 'user',
    attributes:
      fields === undefined
        ? attributes
        : Object.fromEntries(Object.entries(attributes).filter(([name]) => fields.has(name))),
    relationships: {},
    links: {},
    meta: {},
  };
}

/** Encodes a document. */
export function documentOf(data: unknown, links: Readonly<Record<string, string | null>>): string {
  return JSON.stringify({ data, jsonapi: { version: '1.0' }, links });
}

/** Encodes an error as a JSON:API document, with one error object for each fault. */
export function errorDocument(
  error: LastseenError,
  { status, title, newId }: { readonly status: number; readonly title: string; readonly newId: () => string },
): string {
  const faults = error.faults.length > 0 ? error.faults : [undefined];
  const errors = faults.map((fault) => ({
    id: newId(),
    status: String(status),
    code: error.code,
    title,
    detail: fault?.detail ?? error.message,
    ...(fault === undefined
      ? {}
      : {
          source: fault.pointer.startsWith('?')
            ? { parameter: fault.pointer.slice(1) }
            : { pointer: fault.pointer },
        }),
  }));
  return JSON.stringify({ errors, jsonapi: { version: '1.0' } });
}

/**
 * Checks the Content-Type. JSON:API 1.0 allows no media type parameters; a profile (1.1) is accepted.
 * @throws ERR_MEDIA_TYPE
 */
export function requireContentType(header: string | undefined): void {
  if (isPlainJsonApi(header ?? '')) {
    return;
  }
  throw new LastseenError(
    'ERR_MEDIA_TYPE',
    `Content-Type must be ${MEDIA_TYPE} without parameters, got ${quote(header)}`,
  );
}

/**
 * Checks the Accept header.
 * @throws ERR_NOT_ACCEPTABLE if the client accepts JSON:API only with parameters
 */
export function requireAccept(header: string | undefined): void {
  const jsonApiRanges = (header ?? '')
    .split(',')
    .filter((range) => range.trim().toLowerCase().startsWith(MEDIA_TYPE));
  if (
    jsonApiRanges.length === 0 ||
    jsonApiRanges.some((range) => isPlainJsonApi(range.replace(/;\s*q=[\d.]+/i, '')))
  ) {
    return;
  }
  throw new LastseenError('ERR_NOT_ACCEPTABLE', `Accept must allow ${MEDIA_TYPE} without parameters`);
}

function isPlainJsonApi(type: string): boolean {
  const [name = '', ...parameters] = type.split(';').map((part) => part.trim().toLowerCase());
  return name === MEDIA_TYPE && parameters.every((parameter) => parameter.startsWith('profile='));
}

function invalidParameter(name: string, detail: string): LastseenError {
  const faults = [{ pointer: `?${name}`, detail }];
  return new LastseenError('ERR_REQUEST_INVALID', `${name} ${detail}`, { faults });
}
