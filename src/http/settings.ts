import { z } from 'zod';
import { Count, List, Port, Rate, setting, toMs } from '../settings.ts';

/** Settings of the HTTP edge. */
export const httpSettings = {
  HOST: setting('host', 'address to listen on', z.string().min(1).default('127.0.0.1')),
  PORT: setting('port', 'port to listen on; 0 picks a free port and prints it', Port.default(8080)),
  LASTSEEN_ORIGINS: setting(
    'origins',
    "pages that may open sockets. Empty: pages of the server's own origin",
    List(originOf).prefault(''),
  ),
  LASTSEEN_REQUEST_SECONDS: setting(
    'requestTimeoutMs',
    'a request that has not arrived completely in this time gets 408, and a socket message closes its socket',
    Count.default(60).transform(toMs),
  ),
  LASTSEEN_BODY_STALL_SECONDS: setting(
    'bodyStallTimeoutMs',
    'a body of which no byte arrives for this time gets 408',
    Count.default(20).transform(toMs),
  ),
  LASTSEEN_BODY_BUDGET_BYTES: setting(
    'bodyBudgetBytes',
    'bytes of all bodies and socket messages that arrive at a time',
    Count.default(128 * 1024 * 1024),
  ),
  LASTSEEN_BODY_BUDGET_BYTES_PER_PRINCIPAL: setting(
    'bodyBudgetBytesPerPrincipal',
    'the same bytes for one token subject',
    Count.default(64 * 1024 * 1024),
  ),
  LASTSEEN_REQUEST_BUDGET_BYTES: setting(
    'requestBudgetBytes',
    'bytes of all requests that wait behind another one of their connection; one address has half of them',
    Count.default(128 * 1024 * 1024),
  ),
  LASTSEEN_MAX_REQUESTS_PER_SECOND: setting(
    'maxRequestsPerSecond',
    'requests of one token subject; 0: no limit',
    Rate.default(0),
  ),
  LASTSEEN_MAX_EVENTS_PER_SECOND: setting(
    'maxEventsPerSecond',
    'events that one token subject pushes; 10 s worth of events may arrive at once; 0: no limit',
    Rate.default(0),
  ),
};

/**
 * Parses an origin such as `https://app.example`. Text that begins with `^` is a regular expression for the
 * whole origin.
 */
function originOf(text: string): string | RegExp {
  if (!text.startsWith('^')) {
    return text.replace(/\/$/, '').toLowerCase();
  }
  try {
    return new RegExp(`^(?:${text.slice(1).replace(/\$$/, '')})$`);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)} is not a regular expression`, { cause: error });
  }
}
