import { z } from 'zod';
import { Count, List, Port, Rate, setting, toMs } from '../settings.ts';

export const httpSettings = {
  HOST: setting('host', 'Address to listen on.', z.string().min(1).default('127.0.0.1')),
  PORT: setting('port', 'Port to listen on; 0 picks a free one.', Port.default(8080)),
  LASTSEEN_ORIGINS: setting(
    'origins',
    'Origins of pages that may open sockets: exact origins, or patterns that begin with `^` and must match the whole origin. Empty: the same origin only.',
    List(originOf).prefault(''),
  ),
  LASTSEEN_REQUEST_SECONDS: setting(
    'requestTimeoutMs',
    'Seconds within which a request must have arrived whole.',
    Count.default(60).transform(toMs),
  ),
  LASTSEEN_MAX_REQUESTS_PER_SECOND: setting(
    'maxRequestsPerSecond',
    'Requests per second of one principal; 0: no limit.',
    Rate.default(0),
  ),
  LASTSEEN_MAX_EVENTS_PER_SECOND: setting(
    'maxEventsPerSecond',
    'Pushed events per second of one principal; 0: no limit.',
    Rate.default(0),
  ),
};

/** `https://app.example` stands for itself; a text that begins with `^` is a pattern for the whole origin. */
function originOf(text: string): string | RegExp {
  if (!text.startsWith('^')) {
    return text.replace(/\/$/, '').toLowerCase();
  }
  try {
    return new RegExp(`^(?:${text.slice(1).replace(/\$$/, '')})$`);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)} is not a pattern`, { cause: error });
  }
}
