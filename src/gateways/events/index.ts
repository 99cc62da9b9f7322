/**
 * GET /events: a page, a long poll, or an event stream. The three forms share cursors and errors (G3, G6).
 */
import { negotiate } from '../../http/routes.ts';
import { requireAccess } from '../../identity/principal.ts';
import { defineGateway } from '../gateway.ts';
import { decodeQuery } from './codec.ts';
import { eventsDescription } from './description.ts';
import { needs } from './needs.ts';
import { sendPage } from './page.ts';
import { sendStream } from './stream.ts';

/** The events gateway. */
export const events = defineGateway({
  name: 'events',
  description: eventsDescription,
  needs,
  mount(ports) {
    ports.routes.serve(eventsDescription, {
      async 'GET /events'(request, response) {
        const principal = await ports.guards.authorize(request, 'subscribe');
        ports.limits.countRequest(principal);
        const isStream =
          negotiate(request, ['application/json', 'text/event-stream']) === 'text/event-stream';
        const query = decodeQuery(request.query, isStream ? request.get('Last-Event-ID') : undefined);
        requireAccess(principal, query.accessId);
        const options = { ...ports, query, principal };
        await (isStream ? sendStream(options, response) : sendPage(options, response));
      },
    });
    return undefined;
  },
});
