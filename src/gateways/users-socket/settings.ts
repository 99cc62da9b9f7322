import { List, Port, secret, setting, VisibleAscii } from '../../settings.ts';

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

/** The pattern must match the whole origin, whether it says so or not. */
function anchoredPattern(text: string): RegExp {
  try {
    // By itself first: inside a group more texts would be patterns.
    return new RegExp(`^(?:${new RegExp(text).source})$`);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)} is not a pattern`, { cause: error });
  }
}
