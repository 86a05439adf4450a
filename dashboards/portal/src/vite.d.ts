/** What Vite makes of a pattern: the modules by path, each loaded when it is called. */
interface ImportMeta {
  glob<Module>(pattern: string): Readonly<Record<string, () => Promise<Module>>>;
}
