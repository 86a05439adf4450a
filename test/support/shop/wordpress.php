<?php
/**
 * A stand-in of WordPress and WooCommerce, for the plugin alone: hooks, the functions that it calls, and a checkout that
 * creates an order as WooCommerce documents it. `?consent=no` stands for the plugin WP Consent API of a visitor who refuses.
 */
define( 'ABSPATH', __DIR__ . '/' );
define( 'DAY_IN_SECONDS', 86400 );
define( 'COOKIE_DOMAIN', false );
ini_set( 'display_errors', '1' );
error_reporting( E_ALL );

$hooks = array();
function add_action( $name, $call ) {
	global $hooks;
	$hooks[ $name ][] = $call;
}
function do_action( $name, ...$given ) {
	global $hooks;
	foreach ( $hooks[ $name ] ?? array() as $call ) {
		call_user_func_array( $call, $given );
	}
}
function wp_unslash( $value ) {
	return is_array( $value ) ? array_map( 'wp_unslash', $value ) : stripslashes( $value );
}
function is_ssl() {
	return false;
}
if ( 'no' === ( $_GET['consent'] ?? '' ) ) {
	function wp_has_consent( $category ) {
		return 'marketing' !== $category;
	}
}
class WC_Order {
	public $meta_data = array();
	public function update_meta_data( $key, $value ) {
		$this->meta_data[ $key ] = $value;
	}
}

require dirname( __DIR__, 3 ) . '/snippets/afflux-click-id.php';
do_action( 'before_woocommerce_init' );
do_action( 'init' );
$path = parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH );
$checkouts = array(
	'/checkout' => 'woocommerce_checkout_create_order',
	'/block-checkout' => 'woocommerce_store_api_checkout_update_order_meta',
);
if ( isset( $checkouts[ $path ] ) ) {
	$order = new WC_Order();
	do_action( $checkouts[ $path ], $order );
	header( 'Content-Type: application/json' );
	echo json_encode( (object) $order->meta_data );
} else {
	echo '<!doctype html><title>Shop</title><p>' . htmlspecialchars( $path );
}
