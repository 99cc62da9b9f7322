import { List, Port, secret, setting, VisibleAscii } from '../../settings.ts';

/** Settings of the users socket. */
export const usersSocketSettings = {
  LASTSEEN_USERS_SOCKET_ORIGINS: setting(
    'usersSocketOrigins',
    'pages that may open the users socket. Empty: none',
    List(anchoredPattern).prefault(''),
  ),
  LASTSEEN_USERS_SOCKET_API_KEY: secret(
    'usersSocketApiKey',
    'key of third parties on the users socket',
    VisibleAscii.optional(),
  ),
  LASTSEEN_USERS_SOCKET_PORT: setting(
    'usersSocketPort',
    'another port for the users socket, at any path',
    Port.min(1).optional(),
  ),
};

/** Parses a regular expression that must match the whole origin. */
function anchoredPattern(text: string): RegExp {
  try {
    // The text must be a valid expression on its own. Inside the group, more texts would be valid.
    return new RegExp(`^(?:${new RegExp(text).source})$`);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)} is not a regular expression`, { cause: error });
  }
}
