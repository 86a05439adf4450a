import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * Metrics that are read when they are scraped: the code counts in plain numbers, because a labelled `inc` of the
 * library is too slow for the hot path.
 */

/** A counter whose value is read at each scrape. The name must end in `_total`. */
export function countOnScrape(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

/** A counter with one label; `read` gives the value of each of its label values. */
export function countByLabelOnScrape(
  registry: Registry,
  metric: { name: string; help: string; label: string },
  read: () => Readonly<Record<string, number>>,
): void {
  new Counter({
    name: metric.name,
    help: metric.help,
    labelNames: [metric.label],
    registers: [registry],
    collect() {
      this.reset();
      for (const [value, count] of Object.entries(read())) this.inc({ [metric.label]: value }, count);
    },
  });
}

/** A gauge whose value is read at each scrape. */
export function gaugeOnScrape(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** A gauge with one label; `read` gives the values by label at each scrape, and none where nothing is known. */
export function gaugeByLabelOnScrape(
  registry: Registry,
  metric: { name: string; help: string; label: string },
  read: () => Readonly<Record<string, number>>,
): void {
  new Gauge({
    name: metric.name,
    help: metric.help,
    labelNames: [metric.label],
    registers: [registry],
    collect() {
      this.reset();
      for (const [value, count] of Object.entries(read())) this.set({ [metric.label]: value }, count);
    },
  });
}
