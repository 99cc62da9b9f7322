/** The SDK, package entry `lastseen/client`: no dependency, for Node and browsers. */
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
export {
  createTokenCache,
  tokenCache,
  type IssuedToken,
  type TokenCache,
  type TokenCacheOptions,
} from './token-cache.ts';
