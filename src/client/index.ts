/** The SDK, package entry `lastseen/client`: no dependency, for Node and browsers. */
export { cursorFrom, localStorageStore, type CursorStore } from './subscribe/cursor-store.ts';
export { ClientError, type ClientErrorCode, type ClientErrorDetails } from './errors.ts';
export {
  lastseenIssuer,
  lineAssertion,
  lineIssuer,
  lineStatelessIssuer,
  type LastseenIssuerOptions,
  type LineAssertionOptions,
  type LineCredentials,
  type LineOptions,
  type PrivateJwk,
} from './tokens/issuers.ts';
export {
  createPublisher,
  type NewEvent,
  type Publisher,
  type PublisherOptions,
  type PushResult,
} from './publish/publisher.ts';
export type { ClientEvent } from './subscribe/event.ts';
export {
  subscribe,
  type SubscribeOptions,
  type SubscriptionState,
  type TransportName,
} from './subscribe/subscribe.ts';
export type { Fetch, Socket, SocketConstructor } from './subscribe/transport.ts';
export {
  createTokenCache,
  tokenCache,
  type IssuedToken,
  type TokenCache,
  type TokenCacheOptions,
} from './tokens/token-cache.ts';
export type { TokenSource } from './tokens/token-source.ts';
