/** Options that several commands share, and options that override a setting of the environment. */
import { type Command, Option } from 'commander';

export interface SettingOption {
  readonly meaning: string;
  /** The environment variable that gives the value when the option does not. */
  readonly setting: string;
  /** The value without either, as the help shows it: the reader of the setting applies it, not the command line. */
  readonly fallback: string;
}

export function settingOption(flags: string, { meaning, setting, fallback }: SettingOption): Option {
  return new Option(flags, `${meaning} [${setting}]`).default(undefined, fallback);
}

export interface OptionFacts {
  /** The only values that the option takes. */
  readonly choices: readonly string[] | undefined;
  /** What counts when the option is missing, as users read it. */
  readonly fallback: string | undefined;
}

/** What the help and the reference say about an option beside its description. */
export function optionFacts(option: Option): OptionFacts {
  const { argChoices, defaultValueDescription } = option;
  const value: unknown = option.defaultValue;
  return {
    choices: argChoices,
    fallback: defaultValueDescription ?? (typeof value === 'string' ? value : undefined),
  };
}

/** For commands that call a server. */
export function addUrlOption(command: Command): Command {
  return command.addOption(
    settingOption('--url <url>', {
      meaning: 'base URL of the server',
      setting: 'LASTSEEN_URL',
      fallback: 'http://127.0.0.1:8080',
    }),
  );
}

/** For commands that open the database. */
export function addDatabaseOption(command: Command): Command {
  return command.addOption(
    settingOption('--database-url <url>', {
      meaning: 'sqlite:PATH or postgres://…',
      setting: 'DATABASE_URL',
      fallback: 'sqlite:./data/lastseen.db',
    }),
  );
}
