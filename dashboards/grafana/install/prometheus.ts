import { json } from './files.ts';

/** Where a process of the platform answers for its metrics. */
export interface Scraped {
  readonly process: string;
  /** `host:port` */
  readonly target: string;
}

/** What the name of the job is in every query. */
const JOB = 'afflux';

/** The configuration of a Prometheus that keeps the platform's metrics; `folder` is where it finds the other files. */
export function prometheusConfig(scraped: readonly Scraped[], folder: string): string {
  return json({
    global: { scrape_interval: '15s', evaluation_interval: '15s' },
    scrape_configs: [
      {
        job_name: JOB,
        authorization: { type: 'Bearer', credentials_file: `${folder}/metrics-token` },
        static_configs: scraped.map(({ process, target }) => ({ targets: [target], labels: { process } })),
      },
    ],
  });
}
