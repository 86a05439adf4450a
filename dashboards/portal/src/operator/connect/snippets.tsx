import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { Card, Copy, Loading, Problem } from '../../ui/basics.tsx';
import { Segments } from '../../ui/forms.tsx';

type Name = Schemas['Snippet']['name'];

/** Where each goes, and what it does there. */
const ABOUT: Readonly<Record<Name, string>> = {
  page: 'In the head of every page, the checkout too. It keeps the click id, and fills hidden inputs named click_id.',
  tag_manager:
    'As a tag of the type Custom HTML, on all pages. Under Consent settings require ad_storage, so that it waits for consent. Other tags read the id from a variable of the type 1st-party cookie named aff_click.',
  shopify_theme:
    'In Online Store, Themes, Edit code: in theme.liquid before </head>. It keeps the click id when Shopify’s banner has consent to marketing, and puts it on the cart, from which every order takes it.',
  shopify_pixel:
    'In Settings, Customer events, Add custom pixel, with the permission Required, Marketing. It keeps the click id on pages without the theme’s code. A pixel cannot write to the cart: the theme’s code is needed as well.',
  woocommerce:
    'Save it as afflux-click-id.php, then Plugins, Add new, Upload (as a zip), or copy it to wp-content/plugins. It keeps the click id and puts it into the order.',
};

/** Code for the pages of the shop, with the address of the collector. `only`: those that suit a source. */
export function Snippets({ only }: { only?: readonly Name[] | undefined }) {
  const [chosen, setChosen] = useState<Name>();
  const { data, error, reload } = useData(
    async (signal) => (await take(api.GET('/v1/snippets', { signal }))).data,
    [],
  );
  const offered = data?.filter(({ name }) => only === undefined || only.includes(name));
  const snippet = offered?.find(({ name }) => name === chosen) ?? offered?.[0];
  return (
    <Card
      title="Code for the pages of the shop"
      note="Links lead to the shop with the click id in the address. The code carries it to the order."
    >
      {!snippet && (error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />)}
      {snippet && offered && (
        <div class="stack">
          <Segments
            label="Where"
            value={snippet.name}
            onChange={(name) => setChosen(name as Name)}
            choices={offered.map(({ name, title }) => ({ value: name, text: title }))}
          />
          <p>{ABOUT[snippet.name]}</p>
          <div class="code-head">
            <code>{snippet.file}</code>
            <Copy text={snippet.text} label={`the code for ${snippet.title}`} />
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
          <pre class="code" tabIndex={0}>
            {snippet.text}
          </pre>
        </div>
      )}
    </Card>
  );
}
