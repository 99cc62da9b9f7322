/** Decodes the body of POST /query, and selects the media type of its response. */
import { z } from 'zod';
import type { Format } from '../../analysis/format.ts';
import type { Parameter } from '../../analysis/sandbox.ts';
import { LastseenError, quote } from '../../errors.ts';

/** A decoded query. */
export interface QueryRequest {
  readonly sql: string;
  readonly params: readonly Parameter[];
}

/** Maximum number of parameters. */
export const MAX_PARAMETERS = 1_000;

/** Media types of the result, in order of preference. */
export const MEDIA_TYPES = ['application/json', 'application/x-ndjson', 'text/csv'] as const;

/** The schema of the body. */
export const Body = z.strictObject({
  sql: z.string(),
  params: z
    .array(z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .max(MAX_PARAMETERS)
    .default([]),
});

/**
 * Decodes the body.
 * @throws ERR_REQUEST_INVALID naming the field
 */
export function decodeQuery(body: Record<string, unknown>): QueryRequest {
  const parsed = Body.safeParse(body);
  if (parsed.success) {
    const index = parsed.data.params.findIndex(
      (value) => typeof value === 'string' && value.includes('\u0000'),
    );
    if (index !== -1) {
      throw invalid(`/params/${index}`, 'must not contain U+0000');
    }
    return parsed.data;
  }
  const issue = parsed.error.issues[0];
  if (issue?.code === 'unrecognized_keys') {
    throw invalid(`/${issue.keys[0] ?? ''}`, 'is not a field of this request');
  }
  const path = issue?.path ?? [];
  const value = path.reduce<unknown>((parent, key) => (parent as Record<PropertyKey, unknown>)[key], body);
  throw invalid(`/${path.join('/')}`, `${ruleOf(path)}, got ${quote(value)}`);
}

function ruleOf(path: readonly PropertyKey[]): string {
  if (path[0] === 'sql') {
    return 'must be a string';
  }
  return path.length > 1
    ? 'must be a string, a number, true, false or null'
    : `must be an array of at most ${MAX_PARAMETERS} values`;
}

/** Returns the format of a media type. */
export function formatOf(mediaType: (typeof MEDIA_TYPES)[number]): Format {
  if (mediaType === 'application/json') {
    return 'json';
  }
  return mediaType === 'text/csv' ? 'csv' : 'ndjson';
}

/** Returns the Content-Type of a format. RFC 4180 §3 defines the parameters of CSV. */
export function contentTypeOf(format: Format): string {
  if (format === 'json') {
    return 'application/json; charset=utf-8';
  }
  return format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson; charset=utf-8';
}

function invalid(pointer: string, detail: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `\`${pointer.slice(1).replaceAll('/', '.')}\` ${detail}`, {
    faults: [{ pointer, detail }],
  });
}
