import { z } from 'zod';
import { Count, setting } from '../settings.ts';
import { parseRetention } from './retention.ts';

/** Settings of the log. */
export const logSettings = {
  LASTSEEN_RETENTION: setting(
    'retention',
    'which events the server keeps. Empty: all',
    z
      .string()
      .default('')
      .transform((text, context) => {
        const retention = parseRetention(text);
        if (retention === undefined) {
          context.addIssue({
            code: 'custom',
            message: 'must be an age such as 30d, or a count such as 1000/access_id',
          });
          return z.NEVER;
        }
        return retention;
      }),
  ),
  LASTSEEN_MAX_PAYLOAD_BYTES: setting('maxPayloadBytes', 'bytes of a payload', Count.default(1024 * 1024)),
};
