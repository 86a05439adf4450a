import type { ComponentChildren } from 'preact';
import { rich, t } from '../../text/t.ts';
import { Copy, CopyText } from '../../ui/basics.tsx';
import { type Kind, pageOf, type Source } from './kinds.ts';
import { Secret } from './secret.tsx';

interface StepsProps {
  readonly source: Source;
  readonly kind: Kind;
  readonly onChanged: () => void;
}

/** Marks of messages: what a vendor's page has, and what is typed. */
const MARKS = {
  b: (text: string) => <b>{text}</b>,
  code: (text: string) => <code>{text}</code>,
};

/** What to do where the orders are, step by step, with the address and the secret to copy. */
export function Steps(props: StepsProps) {
  return (
    <>
      <ol class="steps">
        {stepsOf(props).map((step, i) => (
          <li key={i}>{step}</li>
        ))}
      </ol>
      <p class="hint">{rich('steps.more_in_page', { page: <code>{pageOf(props.kind.kind)}</code> })}</p>
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

function Url({ text }: { text: string }) {
  return <CopyText text={text} label={t('steps.the_url')} />;
}

function shopifySteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      {rich('steps.shopify_webhooks', MARKS)}
      <Url text={props.source.url} />
    </>,
    <>
      {t('steps.shopify_secret')}
      <Secret {...props} />
    </>,
    rich('steps.shopify_test', MARKS),
  ];
}

function woocommerceSteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      {rich('steps.woocommerce_webhooks', MARKS)}
      <Url text={props.source.url} />
    </>,
    <>
      {t('steps.woocommerce_secret')}
      <Secret {...props} />
    </>,
    t('steps.woocommerce_ping'),
  ];
}

const STRIPE_EVENTS = [
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'invoice.paid',
  'invoice_payment.paid',
  'charge.refunded',
  'charge.dispute.created',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  'charge.dispute.closed',
];

function stripeSteps(props: StepsProps): ComponentChildren[] {
  return [
    <>
      {rich('steps.stripe_endpoint', MARKS)}
      <Url text={props.source.url} />
    </>,
    <>
      <div class="code-head">
        <span>{t('steps.stripe_events')}</span>
        <Copy text={STRIPE_EVENTS.join('\n')} label={t('steps.the_events')} />
      </div>
      <pre>{STRIPE_EVENTS.join('\n')}</pre>
    </>,
    <>
      {rich('steps.stripe_secret', MARKS)}
      <Secret {...props} />
    </>,
    rich('steps.stripe_click_id', MARKS),
  ];
}

/** Keitaro’s own placeholders (docs.keitaro.io, "S2S postback placeholders"); other trackers have theirs. */
const KEITARO_QUERY = 'subid={external_id}&status={status}&payout={revenue}&tid={tid}';

function trackerSteps(props: StepsProps): ComponentChildren[] {
  const { source, kind } = props;
  const { title } = kind;
  const isKeitaro = kind.kind === 'keitaro';
  const landing = `https://tracker.example/campaign?${isKeitaro ? 'external_id' : 'click'}={click_id}`;
  const secret = (
    <>
      {rich('steps.tracker_secret', { parameter: <code>{kind.secret_parameter}</code> })}
      <Secret {...props} />
    </>
  );
  return [
    rich('steps.tracker_landing', { title, url: <code>{landing}</code> }),
    <>
      {isKeitaro ? rich('steps.keitaro_postback', MARKS) : t('steps.tracker_postback', { title })}
      <Url text={`${source.url}?${isKeitaro ? KEITARO_QUERY : namedQuery(kind)}`} />
    </>,
    ...(kind.secret === 'parameter' ? [secret] : []),
    t('steps.tracker_address'),
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
      {t('steps.anything_call')}
      <Url text={source.url} />
    </>,
    rich('steps.anything_names', MARKS),
    rich('steps.anything_mapping', MARKS),
    t('steps.anything_address'),
  ];
}
