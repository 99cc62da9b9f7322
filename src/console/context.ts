/** What every view may use. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { type Api, createApi } from './api.ts';

export type Theme = 'light' | 'dark';

export interface Shared {
  readonly api: Api;
  readonly theme: Theme;
}

export const SharedContext = createContext<Shared>({ api: createApi('', undefined), theme: 'light' });

export function useApi(): Api {
  return useContext(SharedContext).api;
}

/** Light or dark, as it is now. */
export function useThemeName(): Theme {
  return useContext(SharedContext).theme;
}
