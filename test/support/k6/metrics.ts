type Kind = 'counter' | 'gauge' | 'trend';
interface Sample {
  readonly value: number;
  readonly scenario: string;
}

/** k6's metrics over all VUs, with those sub-metrics that a threshold names. */
export class MetricStore {
  readonly #kinds = new Map<string, Kind>([['dropped_iterations', 'counter']]);
  readonly #samples = new Map<string, Sample[]>();

  /** As k6: the same name in every VU is the same metric. @throws Error when it is of another kind. */
  declare(name: string, kind: Kind): void {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/.test(name)) throw new Error(`k6 refuses the metric name "${name}"`);
    if ((this.#kinds.get(name) ?? kind) !== kind) throw new Error(`${name} is of two kinds`);
    this.#kinds.set(name, kind);
  }

  add(name: string, sample: Sample): void {
    if (!Number.isFinite(sample.value)) throw new Error(`${name} was given ${sample.value}`);
    const samples = this.#samples.get(name);
    if (samples) samples.push(sample);
    else this.#samples.set(name, [sample]);
  }

  /** The `metrics` of handleSummary's argument. */
  summarize(
    thresholds: Readonly<Record<string, readonly string[]>>,
    stats: readonly string[],
    scenarios: readonly string[],
  ) {
    const metrics: Record<string, object> = {};
    for (const name of new Set([...this.#samples.keys(), ...Object.keys(thresholds)])) {
      const [, base = '', scenario] = /^(\w+)(?:\{scenario:(\w+)\})?$/.exec(name) ?? [];
      const kind = this.#kinds.get(base);
      if (!kind) throw new Error(`a threshold is of the metric "${name}", which there is not`);
      if (scenario !== undefined && !scenarios.includes(scenario)) throw new Error(`no scenario ${scenario}`);
      const values = valuesOf(
        kind,
        (this.#samples.get(base) ?? []).filter((one) => scenario === undefined || one.scenario === scenario),
        stats,
      );
      const bounds = (thresholds[name] ?? []).map((bound) => [bound, { ok: holds(bound, values) }]);
      metrics[name] = {
        type: kind,
        values,
        ...(bounds.length > 0 && { thresholds: Object.fromEntries(bounds) }),
      };
    }
    return metrics;
  }
}

function valuesOf(kind: Kind, samples: readonly Sample[], stats: readonly string[]): Record<string, number> {
  const values = samples.map(({ value }) => value);
  if (kind === 'counter') return { count: values.reduce((sum, value) => sum + value, 0) };
  if (kind === 'gauge') return { value: values.at(-1) ?? 0 };
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const figures: Record<string, number> = {
    med: at(0.5),
    'p(99)': at(0.99),
    'p(99.9)': at(0.999),
    max: at(1),
  };
  return Object.fromEntries(stats.map((stat) => [stat, figures[stat] ?? Number.NaN]));
}

function holds(bound: string, values: Readonly<Record<string, number>>): boolean {
  const [, figure = '', comparison, limit] = /^(.+?)(<=|>=|==)([\d.]+)$/.exec(bound) ?? [];
  const value = values[figure];
  if (comparison === undefined || value === undefined)
    throw new Error(`k6 cannot read the threshold "${bound}"`);
  if (comparison === '<=') return value <= Number(limit);
  return comparison === '>=' ? value >= Number(limit) : value === Number(limit);
}
