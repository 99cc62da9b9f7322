/** A process that restores a backup and ends like a killed one at a step: `node restore-step.ts PATH BACKUP STEP`. */
import { restoreSqlite } from '../../src/engines/sqlite/restore.ts';

const [path = '', backup = '', last = ''] = process.argv.slice(2);
let step = 0;
restoreSqlite(path, backup, {
  onStep() {
    step += 1;
    if (step === Number(last)) {
      process.kill(process.pid, 'SIGKILL');
      // The signal ends the process while it waits.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }
  },
});
