/** An event as every JSON wire of the service shows it. The payload is the publisher's own text (G9). */
import type { Event } from './event.ts';

export function eventJson(event: Event, cursor: (position: number) => string): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"cursor":"${cursor(event.position)}","access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},${id}"payload":${event.payload}}`
  );
}
