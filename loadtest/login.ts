/** The password of the processes' login at PostgreSQL servers that benchmarks and tests start for themselves. */
export const APP_PASSWORD = 'test';
