import { readFile } from 'node:fs/promises';
import { fromProject } from '../../core/config/paths.ts';

/** Read from the sources also when the code runs from dist/. */
const FOLDER = 'snippets';
/** Where a snippet names the collector. */
const COLLECTOR = 'https://COLLECTOR_URL';

/** What the pages of a shop take, in the order in which a shop chooses. `afflux.js` itself is served by the collector. */
const SNIPPETS = {
  page: { file: 'page.html', title: 'Any page' },
  tag_manager: { file: 'tag-manager.html', title: 'Google Tag Manager' },
  shopify_theme: { file: 'shopify-theme.html', title: 'Shopify theme' },
  shopify_pixel: { file: 'shopify-pixel.js', title: 'Shopify pixel' },
  woocommerce: { file: 'afflux-click-id.php', title: 'WooCommerce plugin' },
} as const;

export type SnippetName = keyof typeof SNIPPETS;
export const SNIPPET_NAMES = Object.keys(SNIPPETS) as [SnippetName, ...SnippetName[]];

export interface Snippet {
  readonly name: SnippetName;
  readonly title: string;
  readonly file: string;
  readonly text: string;
}

/** The snippets with the address of the collector filled in. */
export async function readSnippets(collectorUrl: string): Promise<Snippet[]> {
  return await Promise.all(
    SNIPPET_NAMES.map(async (name) => {
      const { file, title } = SNIPPETS[name];
      const text = await readFile(fromProject(`${FOLDER}/${file}`), 'utf8');
      return { name, title, file, text: text.replaceAll(COLLECTOR, collectorUrl) };
    }),
  );
}
