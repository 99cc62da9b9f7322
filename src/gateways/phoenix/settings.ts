import { isOn, setting, Switch } from '../../settings.ts';

/** Settings of the gateway. */
export const phoenixSettings = {
  LASTSEEN_PHOENIX_USER_TOKEN: setting(
    'isUserTokenAllowed',
    'whether the UUID of a registered user opens a Phoenix socket (`userToken`)',
    Switch.default('on').transform(isOn),
  ),
  LASTSEEN_PHOENIX_PRESENCE: setting(
    'hasPresence',
    'whether the members of a Phoenix topic see one another',
    Switch.default('on').transform(isOn),
  ),
};
