import type { ComponentChildren } from 'preact';
import { Copy, CopyText } from '../../ui/basics.tsx';
import { type Kind, pageOf, type Source } from './kinds.ts';
import { Secret } from './secret.tsx';

interface StepsProps {
  readonly source: Source;
  readonly kind: Kind;
  readonly onChanged: () => void;
}

/** What to do where the orders are, step by step, with the address and the secret to copy. */
export function Steps(props: StepsProps) {
  const { kind } = props;
  return (
    <>
      <ol class="steps">
        {stepsOf(props).map((step, i) => (
          <li key={i}>{step}</li>
        ))}
      </ol>
      <p class="hint">
        More in <code>{pageOf(kind.kind)}</code>. An order within half a minute of its click waits in the
        review queue, unless the fraud rules are changed.
      </p>
    </>
  );
}

function stepsOf(props: StepsProps): ComponentChildren[] {
  switch (props.kind.kind) {
    case 'shopify':
      return shopifySteps(props);
    case 'woocommerce':
      return woocommerceSteps(props);
    case 'stripe':
      return stripeSteps(props);
    case 'anything':
      return anythingSteps(props);
    default:
      return trackerSteps(props);
  }
}

const Url = ({ source }: Pick<StepsProps, 'source'>) => <CopyText text={source.url} label="the URL" />;

function shopifySteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      In Shopify open <b>Settings</b>, <b>Notifications</b>, <b>Webhooks</b>, and create three webhooks in the
      format JSON, with this URL: <b>Order payment</b>, <b>Order cancellation</b>, <b>Refund create</b>.
      <Url {...props} />
    </>,
    <>
      Below the webhooks the same page shows what they are signed with. Copy it to here:
      <Secret {...props} />
    </>,
    <>
      In Shopify press <b>Send test notification</b> at a webhook. It appears below as ignored: it is
      connected.
    </>,
  ];
}

function woocommerceSteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      In WordPress open <b>WooCommerce</b>, <b>Settings</b>, <b>Advanced</b>, <b>Webhooks</b>, and add two
      active webhooks, <b>Order created</b> and <b>Order updated</b>, API version{' '}
      <b>WP REST API Integration v3</b>, with this delivery URL:
      <Url {...props} />
    </>,
    <>
      Both have this secret:
      <Secret {...props} />
    </>,
    <>Save. WooCommerce tries the URL at once: the call appears below as ignored, and it is connected.</>,
  ];
}

const STRIPE_EVENTS = [
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'invoice.paid',
  'charge.refunded',
  'charge.dispute.created',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  'charge.dispute.closed',
];

function stripeSteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      In Stripe open <b>Developers</b>, <b>Webhooks</b>, <b>Add endpoint</b>, with this URL:
      <Url {...props} />
    </>,
    <>
      <div class="code-head">
        <span>Choose these events:</span>
        <Copy text={STRIPE_EVENTS.join('\n')} label="the events" />
      </div>
      <pre>{STRIPE_EVENTS.join('\n')}</pre>
    </>,
    <>
      Stripe then shows the signing secret (<code>whsec_…</code>). Copy it to here:
      <Secret {...props} />
    </>,
    <>
      Pass the click id as <code>client_reference_id</code> of the Checkout session, or as{' '}
      <code>click_id</code> in its <code>metadata</code>. For payment links the code for the pages does it:{' '}
      <code>data-links="buy.stripe.com=client_reference_id"</code>.
    </>,
  ];
}

/** Keitaro’s own placeholders (docs.keitaro.io, "S2S postback placeholders"); other trackers have theirs. */
const KEITARO_QUERY = 'subid={external_id}&status={status}&payout={revenue}&tid={tid}';

function trackerSteps(props: StepsProps): ComponentChildren[] {
  const { source, kind } = props;
  const isKeitaro = kind.kind === 'keitaro';
  const url = `${source.url}?${isKeitaro ? KEITARO_QUERY : namedQuery(kind)}`;
  const security =
    kind.secret === 'parameter'
      ? [
          <>
            If the calls carry a <code>{kind.secret_parameter}</code>, copy it to here: calls without it are
            refused then.
            <Secret {...props} />
          </>,
        ]
      : [];
  return [
    <>
      Let the links of partners lead to a campaign of {kind.title}, with the click id in the parameter that it
      gives back, such as{' '}
      <code>
        https://tracker.example/campaign?{isKeitaro ? 'external_id' : 'click'}={'{click_id}'}
      </code>
      .
    </>,
    <>
      {isKeitaro ? (
        <>
          In Keitaro open the campaign, <b>S2S postbacks</b>, and add this URL:
        </>
      ) : (
        <>
          In {kind.title} add this postback URL. Replace each word in capitals by the placeholder that{' '}
          {kind.title} has for it.
        </>
      )}
      <CopyText text={url} label="the URL" />
    </>,
    ...security,
    <>Keep the URL as a key: who knows it can report orders. Without a currency it is that of the program.</>,
  ];
}

/** The parameters of the kind's example, with words for what stands in them. */
function namedQuery({ example }: Kind): string {
  const names = [...new URLSearchParams(example.query).keys()];
  const words = ['CLICK_ID', 'AMOUNT', 'ORDER_ID', 'EVENT'];
  return names.map((name, i) => `${name}=${words[i]}`).join('&');
}

function anythingSteps({ source }: StepsProps): ComponentChildren[] {
  return [
    <>
      Let the shop call this URL at each order, with JSON, a form or parameters:
      <Url source={source} />
    </>,
    <>
      Its calls appear below. Until there is a mapping, they are read by our own names: <code>order_id</code>,{' '}
      <code>amount</code>, <code>currency</code>, <code>click_id</code>, <code>status</code>.
    </>,
    <>
      Does it use other names? Change <b>How calls are read</b>, try it on a call that came, save it, and do
      the refused calls again.
    </>,
    <>Keep the URL as a key: who knows it can report orders.</>,
  ];
}
