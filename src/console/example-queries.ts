/** What an analyst may begin with. */
export const EXAMPLES: readonly (readonly [title: string, sql: string])[] = [
  [
    'Latest events',
    'select position, access_id, version, recorded_at, payload\nfrom events\norder by position desc\nlimit 50',
  ],
  [
    'Busiest access_ids',
    'select access_id, count(*) as events\nfrom events\ngroup by access_id\norder by events desc\nlimit 20',
  ],
  [
    'Events a minute',
    'select recorded_at / 60000 * 60000 as minute, count(*) as events\nfrom events\ngroup by 1\norder by 1',
  ],
  ['By day', 'select * from event_counts limit 100'],
];
