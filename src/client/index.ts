/** The SDK, package entry `lastseen/client`: no dependency, for Node and browsers. */
export { ClientError, type ClientErrorCode, type ClientErrorDetails } from './errors.ts';
export {
  createPublisher,
  type NewEvent,
  type Publisher,
  type PublisherOptions,
  type PushResult,
} from './publish/publisher.ts';
export { cursorFrom, type CursorStore, localStorageStore } from './subscribe/cursor-store.ts';
export type { ClientEvent } from './subscribe/event.ts';
export {
  subscribe,
  type SubscribeOptions,
  type SubscriptionState,
  type TransportName,
} from './subscribe/subscribe.ts';
export type { Fetch, Socket, SocketConstructor } from './subscribe/transport.ts';
export {
  lastseenIssuer,
  type LastseenIssuerOptions,
  lineAssertion,
  type LineAssertionOptions,
  type LineCredentials,
  lineIssuer,
  type LineOptions,
  lineStatelessIssuer,
  type PrivateJwk,
} from './tokens/issuers.ts';
export {
  createTokenCache,
  type IssuedToken,
  type TokenCache,
  tokenCache,
  type TokenCacheOptions,
} from './tokens/token-cache.ts';
export type { TokenSource } from './tokens/token-source.ts';
