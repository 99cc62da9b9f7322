/** The SDK, package entry `lastseen/client`: no dependency, for Node and browsers. */
export { ClientError, type ClientErrorCode } from './errors.ts';
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
  createTokenCache,
  tokenCache,
  type IssuedToken,
  type TokenCache,
  type TokenCacheOptions,
} from './token-cache.ts';
