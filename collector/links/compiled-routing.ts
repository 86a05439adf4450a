import { parseUrlTemplate } from '../../core/links/macros.ts';
import type { Routing, RoutingCondition, WeightedDestination } from '../../core/links/routing.ts';
import { compileRedirectUrl, type RedirectUrl } from '../request/redirect-url.ts';
import { createScheduleCompiler, type IsOpen } from './schedule.ts';

/** The destination of a click on a known link, with the flags that give the reason. */
export interface Route {
  /** Undefined: the link is gone and there is no fallback (410). */
  readonly url: RedirectUrl | undefined;
  readonly flags: number;
  /** Number of the rule that chose, from 1; 0: none. */
  readonly rule: number;
  /** Which of the weighted destinations, from 0. */
  readonly destination: number;
}

/** Weighted destinations; `ends[i]` is the sum of the weights up to and with destination i. */
export interface Draw {
  readonly urls: readonly RedirectUrl[];
  readonly ends: readonly number[];
  readonly total: number;
}

export interface CompiledRule {
  readonly countries: ReadonlySet<string> | undefined;
  readonly devices: ReadonlySet<string> | undefined;
  /** In lower case, like the languages. */
  readonly os: ReadonlySet<string> | undefined;
  readonly languages: ReadonlySet<string> | undefined;
  readonly isOpen: IsOpen | undefined;
  readonly draw: Draw;
}

export interface CompiledRouting {
  readonly rules: readonly CompiledRule[];
  /** Of the link itself; undefined: its landing page. */
  readonly draw: Draw | undefined;
}

/** The one route of a link that leads to one place, made once. */
export function landingRoute(url: RedirectUrl): Route {
  return { url, flags: 0, rule: 0, destination: 0 };
}

/** Compiles the routing of links. @throws InputError when a stored URL cannot be used. */
export function createRoutingCompiler(): (routing: Routing) => CompiledRouting {
  const compileSchedule = createScheduleCompiler();

  function compileRule({ when, destinations }: Routing['rules'][number]): CompiledRule {
    return {
      ...compileCondition(when),
      isOpen: when.schedule && compileSchedule(when.schedule),
      draw: compileDraw(destinations),
    };
  }
  return ({ rules, destinations }) => ({
    rules: rules.map(compileRule),
    draw: destinations && compileDraw(destinations),
  });
}

function compileCondition(when: RoutingCondition) {
  const lower = (values: readonly string[]): Set<string> =>
    new Set(values.map((value) => value.toLowerCase()));
  return {
    countries: when.countries && new Set(when.countries),
    devices: when.devices && new Set<string>(when.devices),
    os: when.os && lower(when.os),
    languages: when.languages && lower(when.languages),
  };
}

function compileDraw(destinations: readonly WeightedDestination[]): Draw {
  let total = 0;
  const ends = destinations.map(({ weight }) => {
    total += weight;
    return total;
  });
  const urls = destinations.map(({ url }) =>
    compileRedirectUrl(parseUrlTemplate(url, 'url'), { appendClickId: true }),
  );
  return { urls, ends, total };
}
