/** The SDK, package entry `lastseen/client`, for Node and browsers. It has no dependencies. */
export { createPublisher, createTokenCache, lineAssertion, subscribe } from './entry.ts';
export {
  ClientError,
  type ClientErrorCode,
  type ClientErrorDetails,
  type UnprovenVersions,
} from './errors.ts';
export type { NewEvent } from './publish/new-event.ts';
export type { Publisher, PublisherOptions, PushResult } from './publish/publisher.ts';
export { cursorFrom, type CursorStore, localStorageStore } from './subscribe/cursor-store.ts';
export type { ClientEvent } from './subscribe/event.ts';
export type { FeedPlace, Mark } from './subscribe/feed-place.ts';
export type { SubscribeOptions, SubscriptionState, VerdictAnswer } from './subscribe/subscription.ts';
export type { Fetch, Socket, SocketConstructor, TransportName } from './subscribe/transport.ts';
export {
  lastseenIssuer,
  type LastseenIssuerOptions,
  type LineCredentials,
  lineIssuer,
  type LineOptions,
  lineStatelessIssuer,
} from './tokens/issuers.ts';
export type { LineAssertionOptions, PrivateJwk } from './tokens/line-assertion.ts';
export {
  type IssuedToken,
  type TokenCache,
  tokenCache,
  type TokenCacheOptions,
} from './tokens/token-cache.ts';
export type { TokenSource } from './tokens/token-source.ts';
