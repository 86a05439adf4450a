<?php
/**
 * A stand-in of WordPress and WooCommerce, for the plugin alone: hooks, the functions that it calls, and a checkout that
 * creates an order as WooCommerce documents it. The cookie `banner` stands for the plugin WP Consent API, with a banner that
 * asks for consent: the decision is in the cookie wp_consent_marketing, and a change of it is an event of the document.
 */
$path = parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH );
if ( '/afflux.js' === $path ) {
	header( 'Content-Type: text/javascript' );
	readfile( dirname( __DIR__, 3 ) . '/snippets/afflux.js' );
	return;
}
define( 'ABSPATH', __DIR__ . '/' );
define( 'COOKIE_DOMAIN', $_COOKIE['cookie_domain'] ?? false );
define( 'AFFLUX_COLLECTOR', 'http://' . $_SERVER['HTTP_HOST'] );
ini_set( 'display_errors', '1' );
error_reporting( E_ALL );

$hooks = array();
function add_action( $name, $call ) {
	global $hooks;
	$hooks[ $name ][] = $call;
}
function add_filter( $name, $call ) {
	add_action( $name, $call );
}
function do_action( $name, ...$given ) {
	global $hooks;
	foreach ( $hooks[ $name ] ?? array() as $call ) {
		call_user_func_array( $call, $given );
	}
}
function apply_filters( $name, $value ) {
	global $hooks;
	foreach ( $hooks[ $name ] ?? array() as $call ) {
		$value = $call( $value );
	}
	return $value;
}
function wp_unslash( $value ) {
	return is_array( $value ) ? array_map( 'wp_unslash', $value ) : stripslashes( $value );
}
function wp_print_script_tag( $attributes ) {
	echo '<script';
	foreach ( $attributes as $name => $value ) {
		echo true === $value ? " $name" : " $name=\"" . htmlspecialchars( $value ) . '"';
	}
	echo '></script>';
}
if ( isset( $_COOKIE['banner'] ) ) {
	function wp_has_consent( $category ) {
		return 'allow' === ( $_COOKIE[ "wp_consent_$category" ] ?? '' );
	}
}
class WC_Order {
	public $meta_data = array();
	public function update_meta_data( $key, $value ) {
		$this->meta_data[ $key ] = $value;
	}
	public function get_meta( $key ) {
		return $this->meta_data[ $key ] ?? '';
	}
}

require dirname( __DIR__, 3 ) . '/snippets/afflux-click-id.php';
do_action( 'before_woocommerce_init' );
do_action( 'init' );
$checkouts = array(
	'/checkout'         => 'woocommerce_checkout_create_order',
	'/block-checkout'   => 'woocommerce_store_api_checkout_update_order_meta',
	'/renewal-checkout' => 'woocommerce_checkout_create_order',
);
if ( isset( $checkouts[ $path ] ) ) {
	$order = new WC_Order();
	if ( '/renewal-checkout' === $path ) {
		$order->update_meta_data( '_subscription_renewal', '12' );
	}
	do_action( $checkouts[ $path ], $order );
	header( 'Content-Type: application/json' );
	echo json_encode( (object) $order->meta_data );
} elseif ( '/copied' === $path ) {
	// What WooCommerce Subscriptions copies of an order to its subscription and to renewals.
	header( 'Content-Type: application/json' );
	echo json_encode( apply_filters( 'wc_subscriptions_object_data', array( '_afflux_click_id' => 'x', '_vat' => '1' ) ) );
} else {
	echo '<!doctype html><head><title>Shop</title>';
	do_action( 'wp_head' );
	if ( isset( $_COOKIE['banner'] ) ) {
		echo <<<'HTML'
<script>
	window.consent_api = { cookie_prefix: 'wp_consent' };
	window.wp_has_consent = (category) => document.cookie.includes(`wp_consent_${category}=allow`);
	window.decide = (value) => {
		document.cookie = `wp_consent_marketing=${value}; path=/`;
		document.dispatchEvent(new CustomEvent('wp_listen_for_consent_change', { detail: { marketing: value } }));
	};
</script>
HTML;
	}
	echo '</head><p>' . htmlspecialchars( $path );
}
