import type { BenchResult, BenchRow } from '../bench.ts';
import { figure, resultOf, round3, target, whole } from './figures.ts';
import { table } from './page.ts';

/** The short table of README.md, made of results and of nothing else. */

const BEGIN = '<!-- npm run bench:docs writes this table -->';
const END = '<!-- its end -->';
const CENTS = 100;

/** The text with the table between its marks. @throws Error when the marks, or a result, are missing. */
export function withMeasured(text: string, results: readonly BenchResult[]): string {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`README.md has no ${BEGIN} … ${END}`);
  return `${text.slice(0, from)}${BEGIN}\n${table(rows(results))}\n${text.slice(to)}`;
}

function rows(results: readonly BenchResult[]): BenchRow[] {
  const at256 = (server: string, field: string): number =>
    figure(results, 'collector', { server, connections: 256 }, field);
  const chaos = (goal: string): number => target(results, 'chaos', goal);
  const received = figure(results, 'chaos', { what: 'redirects received' }, 'count');
  const off = Math.abs(chaos('commissions off, minor units')) + Math.abs(chaos('payments off, minor units'));
  return [
    {
      what: 'collector, every click acknowledged by JetStream',
      measured: `${whole(at256('collector', 'requests_per_s'))} redirects/s, ${round3(at256('collector', 'cpu_us_per_request'))} µs of CPU each`,
      ...sourceOf(results, 'collector'),
    },
    {
      what: 'Fastify with one INSERT per click',
      measured: `${whole(at256('Fastify + pg, one INSERT a click', 'requests_per_s'))} redirects/s`,
      ...sourceOf(results, 'collector'),
    },
    {
      what: `the whole platform while its parts fail, ${received.toLocaleString('en-US')} redirects`,
      measured: `${chaos('redirected clicks lost')} lost, ${chaos('clicks stored twice')} counted twice, ${(off / CENTS).toFixed(2)} EUR off`,
      ...sourceOf(results, 'chaos'),
    },
  ];
}

function sourceOf(results: readonly BenchResult[], name: string): BenchRow {
  const { command, date, machine } = resultOf(results, name);
  return { 'command, date, machine': `\`${command}\`, ${date.slice(0, 10)}, ${machine}` };
}
