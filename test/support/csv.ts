/** RFC 4180 read back, strictly, by a reader that is not ours to write with. */

/** Each field as it was written: whether it was quoted tells an empty text from nothing. */
export interface Field {
  readonly text: string;
  readonly isQuoted: boolean;
}

/** @throws where the text is not RFC 4180 */
export function parseCsv(csv: string): Field[][] {
  const rows: Field[][] = [];
  let row: Field[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y;
  while (field.lastIndex < csv.length) {
    const at = field.lastIndex;
    const found = field.exec(csv);
    if (found === null) {
      throw new Error(`no field at ${at}: ${csv.slice(at, at + 40)}`);
    }
    const quoted = found[1];
    row.push({ text: quoted?.replaceAll('""', '"') ?? found[2] ?? '', isQuoted: quoted !== undefined });
    if (found[3] === ',') {
      continue;
    }
    rows.push(row);
    row = [];
  }
  if (row.length > 0) {
    throw new Error('the last line does not end');
  }
  return rows;
}
