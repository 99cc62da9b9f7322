/** Light or dark: what the system says, until the switch says otherwise. */
import { useEffect, useState } from 'preact/hooks';
import type { Theme } from './context.ts';

const system = matchMedia('(prefers-color-scheme: dark)');

export function useTheme(): readonly [theme: Theme, toggle: () => void] {
  const [chosen, setChosen] = useState<Theme | undefined>();
  const [isSystemDark, setSystemDark] = useState(system.matches);
  useEffect(() => {
    const look = (): void => {
      setSystemDark(system.matches);
    };
    system.addEventListener('change', look);
    return () => {
      system.removeEventListener('change', look);
    };
  }, []);
  const theme = chosen ?? (isSystemDark ? 'dark' : 'light');
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme;
  }, [theme]);
  return [
    theme,
    () => {
      setChosen(theme === 'dark' ? 'light' : 'dark');
    },
  ];
}
