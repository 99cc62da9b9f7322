import { z } from 'zod';
import { LongSecret, secret, setting, VisibleAscii } from '../settings.ts';

export const identitySettings = {
  LASTSEEN_AUTH: setting(
    'isAuthOpen',
    '`open` skips authentication; it needs a loopback `HOST`',
    z
      .enum(['required', 'open'])
      .default('required')
      .transform((value) => value === 'open'),
  ),
  LASTSEEN_ADMIN_TOKEN: secret(
    'adminToken',
    'bearer token with every scope. Not set: the server makes a token at the first start and prints it once',
    VisibleAscii.optional(),
  ),
  LASTSEEN_KEY_SECRET: secret(
    'keySecret',
    'encrypts the private signing keys and the device secret in the database; the same on every node',
    LongSecret.optional(),
  ),
  LASTSEEN_JWKS_URL: setting(
    'jwksUrl',
    'public keys of an outside identity provider whose tokens the server accepts',
    z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  ),
  LASTSEEN_JWT_ISSUER: setting('jwtIssuer', 'issuer of that provider', z.string().optional()),
  LASTSEEN_JWT_AUDIENCE: setting(
    'jwtAudience',
    "audience that the provider's tokens must name",
    z.string().optional(),
  ),
};
