/**
 * How a room says what it serves, for the documents at /openapi.json and /asyncapi.json. Bodies and messages are named
 * by zod schemas: those that the room's codec validates with, or, where it reads by hand, ones that use the same rules and
 * that a test holds against the codec.
 */
import { z } from 'zod';
import type { ErrorCode } from '../errors.ts';
import type { Scope } from '../identity/principal.ts';
import { nameFault } from '../log/event.ts';

/** By media type. */
export type Content = Readonly<Record<string, z.ZodType>>;

export interface Answer {
  readonly text: string;
  readonly content?: Content;
}

export interface RouteDescription {
  readonly summary: string;
  /** `any`: a token, whatever its scopes. `client`: the credentials of a client, or none. `open`: no token. */
  readonly access: Scope | 'any' | 'client' | 'open';
  /** Parameters of the path, the query and the headers. */
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: z.ZodObject;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Content;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Beside those that every route has: 401 and 403 where a token is asked for, 500. */
  readonly errors?: readonly ErrorCode[];
  /** Where errors are not `application/problem+json`. */
  readonly errorContent?: Content;
}

export interface MessageDescription {
  readonly from: 'client' | 'server';
  readonly summary: string;
  readonly payload: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
}

/** A wire that stays open. */
export interface ChannelDescription {
  readonly address: string;
  readonly kind: 'websocket' | 'event-stream';
  readonly summary: string;
  readonly text: string;
  readonly messages: Readonly<Record<string, MessageDescription>>;
}

export interface Description {
  readonly name: string;
  readonly text: string;
  /** By `METHOD /path/{parameter}`. The upgrade of a WebSocket needs none: its channel stands for it. */
  readonly routes: Readonly<Record<string, RouteDescription>>;
  readonly channels?: Readonly<Record<string, ChannelDescription>>;
}

/** A name as `nameFault` judges it. */
export const Name = z
  .string()
  .refine((text) => nameFault(text) === undefined)
  .meta({ minLength: 1, maxLength: 256 });

export const Cursor = z.string().meta({ description: 'opaque, exclusive: gives what comes after it' });

/** An event as every JSON wire shows it. */
export const WireEvent = z
  .object({
    cursor: Cursor,
    access_id: Name,
    version: z.int().meta({ description: '1, 2, 3, … inside the access_id, without holes' }),
    created_at: z.int().meta({ description: "the publisher's time; never interpreted" }),
    recorded_at: z.int().meta({ description: 'milliseconds since 1970' }),
    id: Name.optional(),
    payload: z.unknown().meta({ description: 'any JSON value, as it was pushed' }),
  })
  .meta({ id: 'Event' });
