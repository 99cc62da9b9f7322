/** The SDK, package entry `lastseen/client`: no dependency, for Node and browsers. */
export { cursorFrom, localStorageStore, type CursorStore } from './cursor-store.ts';
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
} from './issuers.ts';
export {
  createPublisher,
  type NewEvent,
  type Publisher,
  type PublisherOptions,
  type PushResult,
} from './publisher.ts';
export type { ClientEvent } from './event.ts';
export { subscribe, type SubscribeOptions, type SubscriptionState, type TransportName } from './subscribe.ts';
export type { Fetch, Socket, SocketConstructor } from './transport.ts';
export {
  createTokenCache,
  tokenCache,
  type IssuedToken,
  type TokenCache,
  type TokenCacheOptions,
} from './token-cache.ts';
export type { TokenSource } from './token-source.ts';
