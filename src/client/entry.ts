/** The public functions of the SDK that need time or random numbers, on those of the system. */
import { systemRuntime } from '../system-runtime.ts';
import { createPublisherWith, type Publisher, type PublisherOptions } from './publish/publisher.ts';
import type { ClientEvent } from './subscribe/event.ts';
import { type SubscribeOptions, subscribeWith } from './subscribe/subscription.ts';
import { type LineAssertionOptions, lineAssertionWith } from './tokens/line-assertion.ts';
import { createTokenCacheWith, type TokenCache, type TokenCacheOptions } from './tokens/token-cache.ts';

/**
 * Reads the events of one or several access_ids: first the history after `after`, then each new event. Every event
 * comes once, and in order inside its access_id. The iteration does not end on its own: after a lost connection it
 * reconnects and continues after the last event that the loop has taken. The loop takes an event when it asks for the
 * next one.
 *
 * ```ts
 * for await (const event of subscribe({ url, token, accessId: 'client1', after: 'start' })) {
 *   console.log(event.version, event.payload);
 * }
 * ```
 * @throws (while iterating) ERR_CURSOR_… with `floor`, ERR_REFUSED, ERR_DROPPED, ERR_GAP, and what `store` throws. Never
 *   ERR_TOKEN_UNAVAILABLE: the subscription waits until the source has a token again
 */
export function subscribe(options: SubscribeOptions): AsyncIterable<ClientEvent> {
  return subscribeWith(options, systemRuntime);
}

/**
 * Creates a publisher, which sends events to the server in batches. It repeats a request until the server answers, and
 * the server appends each event once.
 *
 * ```ts
 * const publisher = createPublisher({ url, token });
 * const [result] = await publisher.push({ accessId: 'client1', createdAt: Date.now(), payload: { any: 'JSON' } });
 * await publisher.close();
 * ```
 */
export function createPublisher(options: PublisherOptions): Publisher {
  return createPublisherWith(options, systemRuntime);
}

/**
 * Creates a token cache, which requests its first token at once.
 * @throws RangeError when a number of seconds is invalid; Error when a cache with this name exists
 */
export function createTokenCache(options: TokenCacheOptions): TokenCache {
  return createTokenCacheWith(options, systemRuntime);
}

/**
 * Signs an assertion with which a LINE channel requests access tokens (RS256, by Web Crypto).
 * @throws RangeError when a number of seconds or the PEM is invalid, and what Web Crypto throws about the key
 */
export function lineAssertion(options: LineAssertionOptions): Promise<string> {
  return lineAssertionWith(options, systemRuntime.clock);
}
