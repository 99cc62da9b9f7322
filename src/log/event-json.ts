/**
 * Encodes an event as JSON, for every JSON wire of the service. The payload is the text of the publisher
 * (G9).
 */
import { cursorOf } from './cursor.ts';
import type { LogEvent } from './event.ts';

/** Returns the JSON text of an event. */
export function eventJson(event: LogEvent): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"cursor":"${cursorOf(event)}","access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},${id}"payload":${event.payload}}`
  );
}
