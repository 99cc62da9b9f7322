/**
 * How a room declares its settings: the variable of the environment, the property of the configuration, one sentence
 * for the operator, and the rule of its value. `config.ts` composes the slices of all rooms; the reference of the
 * documentation is compared with them.
 */
import { z } from 'zod';
import { MAX_TIMER_MS } from './runtime.ts';

export interface Setting<K extends string = string, S extends z.ZodType = z.ZodType> {
  /** Property of the configuration. */
  readonly key: K;
  /** What the setting does, for the operator. */
  readonly text: string;
  /** Reads the text of the environment. */
  readonly schema: S;
  /** The value never appears in a log or an error. */
  readonly isSecret: boolean;
}

/** Settings by the name of their variable. */
export type SettingsSlice = Readonly<Record<string, Setting>>;

/** The values of a slice, by property. */
export type ValuesOf<T extends SettingsSlice> = {
  readonly [N in keyof T as T[N]['key']]: z.output<T[N]['schema']>;
};

export function setting<const K extends string, S extends z.ZodType>(
  key: K,
  text: string,
  schema: S,
): Setting<K, S> {
  return { key, text, schema, isSecret: false };
}

export function secret<const K extends string, S extends z.ZodType>(
  key: K,
  text: string,
  schema: S,
): Setting<K, S> {
  return { key, text, schema, isSecret: true };
}

export const Port = z.coerce.number().int().min(0).max(65_535);

/** 1 or more. */
export const Count = z.coerce.number().int().min(1);

/** A rate per second; 0 means no limit. */
export const Rate = z.coerce.number().int().min(0);

/** `on` or `off`. */
export const Switch = z.enum(['on', 'off']);

export const isOn = (value: 'on' | 'off'): boolean => value === 'on';

/** Seconds that a timer can take. */
export const TimerSeconds = Count.max(Math.floor(MAX_TIMER_MS / 1_000));

export const toMs = (seconds: number): number => seconds * 1_000;

/** Text that can stand in a header. */
export const VisibleAscii = z.string().regex(/^[\x21-\x7e]+$/, 'must be visible ASCII without spaces');

/** A secret that is long enough not to be guessed. */
export const LongSecret = z.string().min(16, 'must have at least 16 characters');

/** A comma-separated list, each part read by `read`, which throws an Error that says what is wrong with the part. */
export function List<T>(read: (part: string) => T): z.ZodType<T[], string> {
  return z.string().transform((text, context) => {
    try {
      return text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '')
        .map(read);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
}
