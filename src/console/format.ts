/** Numbers and times as the console shows them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' });

export function count(value: number): string {
  return whole.format(value);
}

/** Three digits, with K or M behind. */
export function compact(value: number): string {
  return Number.isFinite(value) ? short.format(value) : '–';
}

export function bytes(value: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = value;
  while (left >= 1_000 && at < units.length - 1) {
    left /= 1_024;
    at += 1;
  }
  return Number.isFinite(value)
    ? `${left >= 100 || at === 0 ? whole.format(left) : left.toFixed(1)} ${units[at] ?? ''}`
    : '–';
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms)) {
    return '–';
  }
  if (ms < 1) {
    return `${(ms * 1_000).toFixed(0)} µs`;
  }
  if (ms < 1_000) {
    return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  }
  const seconds = ms / 1_000;
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  if (seconds < 3_600) {
    return `${Math.floor(seconds / 60)} min`;
  }
  if (seconds < 86_400) {
    return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  }
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Local date and time of milliseconds since 1970; the number itself where it is no time. */
export function time(ms: number): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) {
    return String(ms);
  }
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A value of a table's cell. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}
