/** The version of the package, of which only `package.json` knows. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  for (const up of ['../', '../../']) {
    try {
      return (
        JSON.parse(readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8')) as { version: string }
      ).version;
    } catch {
      // From source it stands one folder up, from `dist` two.
    }
  }
  return 'unknown';
}
