/** The term format against Erlang itself: one node reads what is written here, and writes what is read here. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { decode } from '../../../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../../../src/gateways/fedecks/etf/encode.ts';
import { charlist, float, type Term, tuple } from '../../../../src/gateways/fedecks/etf/term.ts';
import { missing } from '../../../support/programs.ts';
import { temporaryDirectory } from '../../../support/temporary.ts';

const options = { skip: missing('Erlang') };

/**
 * A line of input, a line of output. `term HEX EXPRESSION`: whether the bytes are the term, and the bytes that Erlang
 * makes of it: plain, compressed, in the oldest form. `same HEX HEX`: whether both are one term. `read HEX`: whether
 * they are a term.
 */
const ORACLE = String.raw`#!/usr/bin/env escript
-mode(compile).
main(_) -> answer(io:get_line("")).
answer(eof) -> ok;
answer(Line) ->
  io:format("~s~n", [reply(string:split(string:trim(Line), " ", all))]),
  answer(io:get_line("")).
reply(["term", Hex | Words]) ->
  {ok, Tokens, _} = erl_scan:string(lists:flatten(lists:join(" ", Words)) ++ "."),
  {ok, Expressions} = erl_parse:parse_exprs(Tokens),
  {value, Term, _} = erl_eval:exprs(Expressions, []),
  lists:join(" ", [truth(read(Hex) =:= {ok, Term}) | [hex(term_to_binary(Term, How)) ||
    How <- [[], [compressed], [{minor_version, 0}]]]]);
reply(["same", One, Other]) ->
  case {read(One), read(Other)} of
    {{ok, Term}, {ok, Term}} -> "true";
    _ -> "false"
  end;
reply(["read", Hex]) -> truth(read(Hex) =/= refused).
read(Hex) ->
  try {ok, binary_to_term(bytes(Hex), [safe])} catch error:badarg -> refused end.
bytes(Hex) -> << <<(list_to_integer([High, Low], 16))>> || <<High, Low>> <= list_to_binary(Hex) >>.
hex(Bytes) -> [io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= Bytes].
truth(Value) -> atom_to_list(Value).
`;

/** The answers of one node to all lines. */
function ask(lines: readonly string[]): string[] {
  const directory = temporaryDirectory();
  try {
    const script = join(directory.path, 'oracle.escript');
    writeFileSync(script, ORACLE);
    const input = lines.map((line) => `${line}\n`).join('');
    const ran = spawnSync('escript', [script], {
      input,
      encoding: 'utf8',
      timeout: 60_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    assert.equal(ran.status, 0, `${ran.stderr}${ran.stdout.slice(-500)}`);
    const answers = ran.stdout.trimEnd().split('\n');
    assert.equal(answers.length, lines.length);
    return answers;
  } finally {
    directory.remove();
  }
}

const SAMPLES: readonly (readonly [expression: string, term: Term])[] = [
  ['<<"hello matey">>', 'hello matey'],
  [String.raw`<<"\x{e9}\x{20ac}\x{1f600}"/utf8>>`, 'é€😀'],
  ['<<255,0>>', Uint8Array.of(255, 0)],
  ['0', 0],
  ['255', 255],
  ['256', 256],
  ['-1', -1],
  ['(1 bsl 31) - 1', 2 ** 31 - 1],
  ['1 bsl 31', 2 ** 31],
  ['-(1 bsl 31)', -(2 ** 31)],
  ['-(1 bsl 31) - 1', -(2 ** 31) - 1],
  ['(1 bsl 53) + 1', 2n ** 53n + 1n],
  ['-(1 bsl 64)', -(2n ** 64n)],
  ['(1 bsl 2040) - 1', 2n ** 2040n - 1n],
  ['-(1 bsl 2040)', -(2n ** 2040n)],
  ['1.5', 1.5],
  ['1.0', float(1)],
  ['-1.0e300', float(-1e300)],
  ['5.0e-324', 5e-324],
  ['true', true],
  ['false', false],
  ['nil', null],
  ['[]', []],
  ['[1,2,3]', [1, 2, 3]],
  ['[1,300]', [1, 300]],
  ['"token_please"', charlist('token_please')],
  ['lists:duplicate(65535, 7)', Array<Term>(65_535).fill(7)],
  ['lists:duplicate(65536, 7)', Array<Term>(65_536).fill(7)],
  ['{}', tuple()],
  ['{"token", <<"XCP.abc">>}', tuple(charlist('token'), 'XCP.abc')],
  ['list_to_tuple(lists:duplicate(256, []))', tuple(...Array<Term>(256).fill([]))],
  ['#{}', new Map()],
  [
    '#{<<"a">> => 1, <<"b">> => #{<<"c">> => [1.5, nil]}}',
    new Map<Term, Term>([
      ['a', 1],
      ['b', new Map([['c', [1.5, null]]])],
    ]),
  ],
  ['binary:copy(<<"long text ">>, 1000)', 'long text '.repeat(1000)],
];

it(
  'Erlang reads every sample as its own term, and what it writes in any form is read as the sample',
  options,
  () => {
    const answers = ask(
      SAMPLES.map(([expression, term]) => `term ${encode(term).toString('hex')} ${expression}`),
    );
    SAMPLES.forEach(([expression, term], at) => {
      const [isSame, ...forms] = (answers[at] ?? '').split(' ');
      assert.equal(isSame, 'true', expression);
      assert.equal(forms.length, 3);
      for (const hex of forms) {
        assert.deepStrictEqual(decode(Buffer.from(hex, 'hex')), { ok: true, term }, expression);
      }
      // Older nodes write atoms in another form.
      if (!/nil|true|false/.test(expression)) {
        assert.equal(forms[0], encode(term).toString('hex'), expression);
      }
    });
    assert.ok(
      answers.some((answer) => answer.includes(' 8350')),
      'something was compressed',
    );
    assert.ok(
      answers.some((answer) => answer.includes(' 8363')),
      'a float was text',
    );
  },
);

it(
  'whatever bytes are read here, Erlang reads as the same term; what is malformed here is so there',
  options,
  () => {
    const TAGS = [70, 77, 97, 98, 100, 104, 105, 106, 106, 106, 107, 108, 109, 110, 111, 115, 116, 118, 119];
    const byte = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...TAGS) },
      { weight: 4, arbitrary: fc.nat({ max: 2 }) },
      fc.nat({ max: 255 }),
    );
    const invented = fc.array(byte, { maxLength: 40 }).map((rest) => Buffer.from([131, ...rest]));
    const small = SAMPLES.map(([, term]) => encode(term)).filter((bytes) => bytes.length < 300);
    const damaged = fc
      .tuple(fc.constantFrom(...small), fc.array(fc.tuple(fc.nat(), byte), { maxLength: 3 }))
      .map(([bytes, changes]) => {
        const changed = Buffer.from(bytes);
        for (const [at, value] of changes) {
          changed[at % changed.length] = value;
        }
        return changed;
      });
    const questions = fc.sample(fc.oneof(invented, damaged), 4_000).map((bytes) => {
      const decoded = decode(bytes);
      return { bytes, decoded, hex: bytes.toString('hex') };
    });
    const answers = ask(
      questions.map(({ decoded, hex }) =>
        decoded.ok ? `same ${hex} ${encode(decoded.term).toString('hex')}` : `read ${hex}`,
      ),
    );
    questions.forEach(({ decoded, hex }, at) => {
      if (decoded.ok) {
        assert.equal(answers[at], 'true', `${hex} is a term here`);
      } else if (decoded.reason === 'malformed') {
        assert.equal(answers[at], 'false', `${hex}: ${decoded.detail}`);
      }
    });
    assert.ok(questions.filter(({ decoded }) => decoded.ok).length > 500, 'many were terms');
  },
);
