import { z } from 'zod';
import { LongSecret, secret, setting, VisibleAscii } from '../settings.ts';

export const identitySettings = {
  LASTSEEN_AUTH: setting(
    'isAuthOpen',
    '`required` asks for a token; `open` asks for none and serves on a loopback address only.',
    z
      .enum(['required', 'open'])
      .default('required')
      .transform((value) => value === 'open'),
  ),
  LASTSEEN_ADMIN_TOKEN: secret(
    'adminToken',
    'The admin token. Without it the server makes one at its first start and prints it once.',
    VisibleAscii.optional(),
  ),
  LASTSEEN_KEY_SECRET: secret(
    'keySecret',
    'Encrypts the private signing keys in the database.',
    LongSecret.optional(),
  ),
  LASTSEEN_JWKS_URL: setting(
    'jwksUrl',
    'Public keys of an identity provider whose tokens are accepted too.',
    z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  ),
  LASTSEEN_JWT_ISSUER: setting('jwtIssuer', 'The issuer (`iss`) of that provider.', z.string().optional()),
  LASTSEEN_JWT_AUDIENCE: setting(
    'jwtAudience',
    'The audience (`aud`) that its tokens must name.',
    z.string().optional(),
  ),
};
