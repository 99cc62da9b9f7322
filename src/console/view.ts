/** What every view of the console gets. */
import type { SamplesState } from './samples.ts';

export interface ViewProps {
  /** False while another view is looked at. */
  readonly isShown: boolean;
  readonly samples: SamplesState;
}
