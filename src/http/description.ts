/**
 * The description of a gateway, for the documents at /openapi.json and /asyncapi.json. Zod schemas describe
 * bodies and messages. A codec validates with its schema; where a codec parses by hand, a test compares it
 * with the schema.
 */
import { z } from 'zod';
import type { ErrorCode } from '../errors.ts';
import type { Scope } from '../identity/principal.ts';
import { nameFault } from '../log/event.ts';

/** Schemas by media type. */
export type Content = Readonly<Record<string, z.ZodType>>;

/** A successful response. */
export interface Answer {
  readonly text: string;
  readonly content?: Content;
}

/** One route. */
export interface RouteDescription {
  readonly summary: string;
  /** `any`: a token with any scope. `client`: client credentials or none. `open`: no token. */
  readonly access: Scope | 'any' | 'client' | 'open';
  /** Parameters of the path, the query and the headers, each with its description. */
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: z.ZodObject;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Content;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Error codes of the route. Every route also has 500, and 401 and 403 if it requires a token. */
  readonly errors?: readonly ErrorCode[];
  /** Schemas of errors that are not `application/problem+json`. */
  readonly errorContent?: Content;
}

/** One message of a channel. */
export interface MessageDescription {
  readonly from: 'client' | 'server';
  readonly summary: string;
  readonly payload: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
}

/** A connection that stays open. */
export interface ChannelDescription {
  readonly address: string;
  readonly kind: 'websocket' | 'event-stream';
  readonly summary: string;
  readonly text: string;
  readonly messages: Readonly<Record<string, MessageDescription>>;
}

/** Everything that a gateway serves. */
export interface Description {
  readonly name: string;
  readonly text: string;
  /**
   * Routes by `METHOD /path/{parameter}`. The upgrade request of a WebSocket has no entry: its channel
   * describes it.
   */
  readonly routes: Readonly<Record<string, RouteDescription>>;
  readonly channels?: Readonly<Record<string, ChannelDescription>>;
}

/** A name that `nameFault` accepts. */
export const Name = z
  .string()
  .refine((text) => nameFault(text) === undefined)
  .meta({ minLength: 1, maxLength: 256 });

/** A cursor. */
export const Cursor = z
  .string()
  .meta({ description: 'opaque and exclusive: reading continues with the event after it' });

/** An event on every JSON wire. */
export const WireEvent = z
  .object({
    cursor: Cursor,
    access_id: Name,
    version: z.int().meta({ description: '1, 2, 3, … inside the access_id, without gaps' }),
    created_at: z.int().meta({ description: "the publisher's time; the server does not interpret it" }),
    recorded_at: z.int().meta({ description: 'milliseconds since 1970' }),
    id: Name.optional(),
    payload: z.unknown().meta({ description: 'the JSON value that the publisher sent, unchanged' }),
  })
  .meta({ id: 'Event' });
