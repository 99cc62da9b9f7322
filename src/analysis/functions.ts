/**
 * The functions that a query may call. A function that is not listed is refused. None of them reads or writes anything
 * outside its arguments, sleeps, locks, or makes a large result of a small argument. Functions that gather rows into one
 * value (array_agg, json_agg) are not on PostgreSQL's list: nothing limits the memory of its process.
 */

const BOTH = `abs acos asin atan atan2 avg ceil ceiling coalesce concat concat_ws cos count cume_dist degrees dense_rank
  exp first_value floor lag last_value lead length ln log log10 lower ltrim max min mod nth_value ntile nullif
  octet_length percent_rank pi power radians rank replace round row_number rtrim sign sin sqrt string_agg substr
  substring sum tan trim trunc upper`;

const SQLITE_ONLY = `-> ->> char current_date current_time current_timestamp date datetime format glob group_concat hex
  if ifnull iif instr json json_array json_array_length json_error_position json_extract json_group_array
  json_group_object json_object json_pretty json_quote json_type json_valid julianday like log2 nullif pow printf quote
  strftime time timediff total typeof unicode unixepoch`;

const POSTGRES_ONLY = `age any_value  array_length array_to_string bit_length bool_and bool_or btrim cast cbrt
  char_length character_length chr corr date_bin date_part date_trunc div every extract greatest initcap
   json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
  json_each_text json_extract_path json_extract_path_text  json_object_keys json_strip_nulls json_typeof
   jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
  jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text  jsonb_object_keys
  jsonb_typeof jsonb_path_exists jsonb_path_query jsonb_path_query_first justify_days justify_hours
  justify_interval least left make_date make_interval make_timestamp make_timestamptz md5 mode now percentile_cont
  percentile_disc position regexp_match regexp_replace regr_intercept regr_slope reverse right row_to_json scale
  split_part starts_with stddev stddev_pop stddev_samp strpos to_char to_date to_json to_jsonb to_number
  to_timestamp translate unnest var_pop var_samp variance width_bucket`;

const names = (...lists: string[]): ReadonlySet<string> =>
  new Set(lists.flatMap((list) => list.split(/\s+/)));

export const SQLITE_FUNCTIONS = names(BOTH, SQLITE_ONLY);

export const POSTGRES_FUNCTIONS = names(BOTH, POSTGRES_ONLY);

/** Words of PostgreSQL's grammar, and types with a length: a parenthesis after them is no call. */
export const POSTGRES_BEFORE_PARENTHESIS =
  names(`all and any array as asymmetric between bit by case char character
  cross cube decimal distinct else escape except exists filter float from full group grouping having ilike in inner
  intersect interval is join lateral like limit materialized natural not notnull numeric offset on only or order
  outer over partition preceding then recursive rollup row rows select sets similar some symmetric time timestamp
  timestamptz to union using values varchar varying when where window within zone`);
